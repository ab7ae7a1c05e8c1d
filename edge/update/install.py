"""From an archive to the switch: every step that a new bundle must pass before a start may run it.

Does: takes the archive in, checks size, disk, hash, members, signature, hashes, version and golden outputs, runs the
trial, and switches by replacing one small file. Does not: restart anything, or go back (`edge.update.running`).

Until that file is replaced the old bundle is what runs, wherever this is interrupted; from then on it is the new one.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge import clock
from edge.bundle import MANIFEST, Bundle, find_bundle, load_bundle
from edge.config import Settings
from edge.errors import UpdateError, UserError
from edge.files import give_to_owner_of, make_private, open_private, sync_folder
from edge.manifest import Manifest
from edge.update import archive, fetch
from edge.update.recent import RecentSound
from edge.update.record import Outcome, Record, RecordFile
from edge.update.trial import Trial, run_trial
from edge.update.version import is_older

log = structlog.get_logger()


@dataclass(frozen=True)
class Installed:
    """What came of an archive that was not refused."""

    bundle: str
    """Name and version."""
    switched: bool
    """False: this bundle is what runs already."""


class Installer:
    """Takes archives in, one at a time."""

    def __init__(
        self, settings: Settings, stopping: threading.Event | None = None, recent: RecentSound | None = None
    ) -> None:
        """`stopping`: once set, what is under way is given up. `recent`: what the trial hears as well."""
        self.records = RecordFile(settings.update_folder, settings.bundle.path)
        self._settings = settings
        self._stopping = stopping or threading.Event()
        self._recent = recent

    def install(self, origin: str, sha256: str = "", *, allow_downgrade: bool = False) -> Installed:
        """Take the archive at a path or URL, prove its bundle, and make it the one that the next start runs.

        Args:
            origin: path or https URL of a `.tar`.
            sha256: what the archive's SHA-256 must be, in hexadecimal; empty: not compared.
            allow_downgrade: take a bundle that is older than the one of its name that has run here. A signature does
                not expire, so whoever can send archives could otherwise bring any mistake of the past back.

        Raises:
            UserError: it is refused, in one line; what is installed is as it was, and the reason is in the record.
        """
        try:
            with self.records.installing():
                self.clean()
                return self._install(origin, sha256.lower(), allow_downgrade=allow_downgrade)
        except UserError as error:
            raise self._refusal(origin, str(error)) from error
        except OSError as error:
            told = f"{self.records.folder}: cannot be written: {error.strerror}; free the disk or set update.folder"
            raise self._refusal(origin, told) from error

    def clean(self) -> None:
        """Remove what interrupted updates have left, and bundles that no start would run."""
        record = self.records.read()
        for folder in (self.records.incoming, self.records.store):
            for left in folder.iterdir() if folder.is_dir() else ():
                if folder == self.records.incoming or left.name not in (record.current, record.previous):
                    shutil.rmtree(left, ignore_errors=True)

    def _install(self, origin: str, sha256: str, *, allow_downgrade: bool) -> Installed:
        record = self.records.read()
        if record.on_probation:
            raise UpdateError("the last update is on probation still; try again once it is confirmed or has gone back")
        with self._scratch() as scratch:
            try:
                bundle = self._unpacked(origin, sha256, scratch)
                name = f"{bundle.manifest.name}-{bundle.manifest.version}"
                digest = _digest(bundle.path)
                if digest == self._running_digest(record):
                    log.info("update_not_needed", bundle=name, reason="it runs already")
                    return Installed(name, switched=False)
                if not allow_downgrade:
                    self._check_version(record, bundle.manifest)
                sound = self._recent.take() if self._recent else None
                trial = run_trial(bundle.path, self._settings, self._stopping, sound)
            except UserError as error:
                # Where it was unpacked is gone by the time that somebody reads this.
                raise UpdateError(str(error).replace(f"bundle {scratch / 'bundle'}", "its bundle")) from error
            self._keep(bundle.path, digest)
        self._switch(name, digest, trial)
        return Installed(name, switched=True)

    def _unpacked(self, origin: str, sha256: str, scratch: Path) -> Bundle:
        """Take in, check the hash, unpack, and check signature and hashes."""
        limit = round(self._settings.update.max_mb * 1e6)
        path = scratch / "bundle.tar"
        self._check_room(0 if fetch.is_url(origin) else _size(origin), "the archive")
        with open_private(path, new=True) as target:
            actual = fetch.take(origin, target, self._settings.update, self._stopping)
        if sha256 and actual != sha256:
            raise UpdateError(f"{fetch.shown(origin)}: its SHA-256 is {actual[:12]}…, expected {sha256[:12]}…")
        self._check_room(path.stat().st_size, "what the archive holds")
        archive.unpack(path, scratch / "bundle", max_bytes=limit)
        path.unlink()
        keys = [Path(key) for key in self._settings.bundle.trusted_keys]
        unsigned = self._settings.bundle.allow_unsigned
        return load_bundle(scratch / "bundle", trusted_keys=keys, allow_unsigned=unsigned)

    def _check_version(self, record: Record, manifest: Manifest) -> None:
        """Refuse what is older than the bundle of its name that was confirmed last or runs, or else is configured.

        What runs may be newer than what was confirmed: the configured bundle, after the confirmed one did not open any
        more. One that was left within its probation is not looked at: what replaces it may well have a lower number.
        """
        configured = find_bundle(self._settings.bundle.path)
        running = self.records.store / record.current if record.current else configured
        known = [record.confirmed.get(manifest.name, ""), _version(running, manifest.name)]
        if not any(known):
            known = [_version(configured, manifest.name)]
        for version in filter(None, known):
            if is_older(manifest.version, version):
                raise UpdateError(
                    f"{manifest.name}-{manifest.version} is older than {manifest.name}-{version}, which has run here: "
                    "only python -m edge update --allow_downgrade takes it"
                )

    def _keep(self, folder: Path, digest: str) -> None:
        make_private(self.records.store)
        give_to_owner_of(self.records.store, folder)
        folder.rename(self.records.store / digest)
        sync_folder(self.records.store)

    def _switch(self, name: str, digest: str, trial: Trial) -> None:
        outcome = Outcome(state="installed", bundle=name, at=clock.rfc3339(clock.utc_now()))
        self.records.change(
            lambda record: record.model_copy(
                update={
                    "current": digest,
                    "name": name,
                    "previous": record.current,
                    "on_probation": True,
                    "starts": 0,
                    "in_order": True,
                    "outcome": outcome,
                }
            )
        )
        log.info("update_installed", bundle=name, windows=trial.windows, window_ms=trial.median_ms)

    def _running_digest(self, record: Record) -> str:
        if record.current:
            return record.current
        return _digest(find_bundle(self._settings.bundle.path))

    def _check_room(self, size: int, what: str) -> None:
        free = shutil.disk_usage(self.records.folder).free
        if free < size + fetch.RESERVE_BYTES:
            need = (size + fetch.RESERVE_BYTES) / 1e6
            raise UpdateError(f"{self.records.folder}: {what} needs {need:.0f} MB free, there are {free / 1e6:.0f}")

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        make_private(self.records.incoming)
        with tempfile.TemporaryDirectory(dir=self.records.incoming) as scratch:
            yield Path(scratch)

    def _refusal(self, origin: str, reason: str) -> UpdateError:
        """The error to raise; the record has been told, where it can be."""
        name = fetch.shown(origin)
        told = reason if reason.startswith(name) else f"{name}: {reason}"
        outcome = Outcome(state="refused", bundle=name, reason=told, at=clock.rfc3339(clock.utc_now()))
        try:
            self.records.change(lambda record: record.model_copy(update={"outcome": outcome}))
        except UpdateError as error:
            log.warning("update_record_not_writable", reason=str(error))
        return UpdateError(told)


def _digest(folder: Path) -> str:
    """SHA-256 of the manifest, which holds that of every other file."""
    try:
        return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    except OSError:
        return ""


def _version(folder: Path, name: str) -> str:
    """Of a bundle that was checked when it came; empty for one of another name.

    Empty also where it is not there or damaged: a good one may replace it.
    """
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return ""
    return manifest.version if manifest.name == name else ""


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
