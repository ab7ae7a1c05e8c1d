"""Takes new bundles in while the daemon listens: archives laid into the inbox, and requests that name one.

Does: looks into the inbox, runs one installation after another in a thread of its own, tells whoever asked, and says
when a restart is due. Does not: restart, or know where requests come from (`edge.command` does).
"""

from __future__ import annotations

import os
import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge.config import Settings
from edge.errors import ConfigError, UserError
from edge.files import DISK_REFUSES, make_private
from edge.hooks import Hooks
from edge.update import fetch
from edge.update.install import Installer
from edge.update.recent import RecentSound

log = structlog.get_logger()

_POLL_S = 2.0
_SETTLED_S = 3.0
"""How long a file in the inbox must not have changed: somebody may be copying it still."""

_TROUBLE_S = 60.0
"""How long an inbox that cannot be read or written is left alone."""

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_TAKEN, _REFUSED = ".taken", ".refused"


@dataclass(frozen=True)
class UpdateResult:
    """What came of one request."""

    accepted: bool
    bundle: str
    """Name and version; what was named, where it was refused."""
    reason: str = ""
    """Why it was refused, in one line; empty otherwise."""
    switched: bool = False
    """The daemon restarts now, to run it; False also where it runs already."""


@dataclass(frozen=True)
class _Request:
    url: str
    sha256: str
    done: Callable[[UpdateResult], None]


class Updater:
    """Owns the inbox and the thread that installs."""

    def __init__(self, settings: Settings, hooks: Hooks, on_switched: Callable[[], None]) -> None:
        """`on_switched` is called when the next start would run a new bundle, after whoever asked has been told.

        A disk that takes no writes is no error: it is told in the log and in `trouble`, and tried again.

        Raises:
            ConfigError: the inbox is no folder that can be written.
        """
        self._stopping = threading.Event()
        self._installer = Installer(settings, self._stopping, RecentSound(hooks))
        given = settings.update.inbox
        self._inbox = Path(given).expanduser() if given else settings.update_folder / "inbox"
        self._on_switched = on_switched
        self._requests: queue.Queue[_Request] = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._run, name="update", daemon=True)
        self._seen: dict[Path, tuple[float, tuple[int, int]]] = {}
        self.trouble = ""
        """Why the inbox is not looked into; empty while it is."""
        try:
            self._open_inbox()
        except OSError as error:
            if error.errno not in DISK_REFUSES:
                raise ConfigError(
                    f"update.inbox: {self._inbox}: cannot be written: {error.strerror}; archives are removed from it"
                ) from error
            self._tell_inbox(error)

    def start(self) -> None:
        """Begin to look into the inbox."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Give up what is under way or waits, and wait for that at most so long; any number of times."""
        self._stopping.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        while (request := self._next_request(0.0)) is not None:
            name = fetch.shown(request.url)
            request.done(_refused(name, f"{name}: the daemon stops; give the command again"))

    def request(self, url: str, sha256: str, done: Callable[[UpdateResult], None]) -> None:
        """Install in the background what a command names; `done` is called once, now or in the updater's thread.

        Args:
            url: of the archive, https. Not a path: a command must not make the device read any file.
            sha256: of the archive, in hexadecimal.
            done: takes the result before a restart follows; it must not wait for anything.
        """
        name = fetch.shown(url)
        if not fetch.is_url(url):
            done(UpdateResult(False, name, f"{name}: is no URL; name an archive on a host of update.hosts"))
        elif not _SHA256.fullmatch(sha256):
            done(UpdateResult(False, name, f"{name}: sha256 is to be that of the archive, 64 hexadecimal digits"))
        else:
            try:
                self._requests.put_nowait(_Request(url, sha256, done))
            except queue.Full:
                done(UpdateResult(False, name, f"{name}: another update waits already; try again later"))

    def _run(self) -> None:
        self._guarded(self._put_aside_interrupted)
        while not self._stopping.is_set():
            self._guarded(self._turn)

    def _turn(self) -> None:
        if (request := self._next_request(_POLL_S)) is not None:
            self._finish(self._install(request.url, request.sha256), request.done)
        elif (path := self._settled()) is not None:
            self._take(path)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception:  # a device that takes no update any more cannot be mended from afar
            log.exception("updater_failed", action="report this; updates go on")
            self._stopping.wait(_TROUBLE_S)

    def _next_request(self, timeout_s: float) -> _Request | None:
        try:
            return self._requests.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def _settled(self) -> Path | None:
        """An archive in the inbox that nobody is writing to any more."""
        if self.trouble:
            try:
                self._open_inbox()
            except OSError:
                self._stopping.wait(_TROUBLE_S)
                return None
            self.trouble = ""
        try:
            with os.scandir(self._inbox) as entries:
                marks = {Path(entry.path): _mark(entry) for entry in entries if _is_archive(entry.name)}
        except OSError as error:
            log.warning("update_inbox_unreadable", inbox=str(self._inbox), reason=error.strerror)
            self._stopping.wait(_TROUBLE_S)
            return None
        now = time.monotonic()
        before, self._seen = self._seen, {}
        for path, mark in sorted(marks.items()):
            since, last = before.get(path, (now, mark))
            self._seen[path] = (since if last == mark else now, mark)
        return next((path for path, (since, _) in self._seen.items() if now - since >= _SETTLED_S), None)

    def _take(self, path: Path) -> None:
        """Install an archive of the inbox. Its name changes first, so that no restart ever takes it a second time."""
        taken = path.with_name(path.name + _TAKEN)
        try:
            path.rename(taken)
        except OSError as error:
            # Rather none than one that comes again with every start.
            self._tell_inbox(error)
            self._stopping.wait(_TROUBLE_S)
            return
        if taken.is_symlink():
            result = _refused(path.name, f"{path}: is a link; lay the archive itself there")
        else:
            result = self._install(str(taken), "")
        try:
            if result.accepted:
                taken.unlink()
            elif self._stopping.is_set():
                taken.rename(path)
            else:
                taken.rename(path.with_name(path.name + _REFUSED))
        except OSError as error:
            self._tell_inbox(error)
        self._finish(result)

    def _finish(self, result: UpdateResult, done: Callable[[UpdateResult], None] | None = None) -> None:
        try:
            if done is not None:
                done(result)
        finally:
            if result.switched:
                self._on_switched()

    def _put_aside_interrupted(self) -> None:
        """An archive whose installation a crash or a loss of power has ended is not tried again by itself."""
        for taken in self._inbox.glob(f"*.tar{_TAKEN}"):
            log.warning(
                "update_interrupted",
                archive=taken.name,
                action="the status says what runs; name it *.tar for another try",
            )
            try:
                taken.rename(taken.with_suffix(_REFUSED))
            except OSError as error:
                self._tell_inbox(error)

    def _open_inbox(self) -> None:
        """Make the inbox, and see that it can be written. Raises OSError where it cannot."""
        make_private(self._inbox)
        (self._inbox / ".writable").touch()
        (self._inbox / ".writable").unlink()

    def _tell_inbox(self, error: OSError) -> None:
        self.trouble = f"the inbox cannot be written: {error.strerror}"
        log.warning("update_inbox_not_writable", inbox=str(self._inbox), reason=error.strerror)

    def _install(self, origin: str, sha256: str) -> UpdateResult:
        name = fetch.shown(origin)
        try:
            installed = self._installer.install(origin, sha256)
        except UserError as error:
            return _refused(name, str(error))
        except Exception as error:
            log.exception("update_failed", archive=name, action="report this; the running bundle is untouched")
            return UpdateResult(False, name, f"{name}: a defect, {type(error).__name__}; the log says more")
        return UpdateResult(True, installed.bundle, switched=installed.switched)


def _refused(name: str, reason: str) -> UpdateResult:
    log.warning("update_refused", archive=name, reason=reason)
    return UpdateResult(False, name, reason)


def _is_archive(name: str) -> bool:
    return name.endswith(".tar") and not name.startswith(".")


def _mark(entry: os.DirEntry[str]) -> tuple[int, int]:
    """What changes while somebody writes to a file; one that has just been taken away has no mark."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)
