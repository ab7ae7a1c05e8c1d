"""Checks of the machine: its clock, its disk, and what this user may do there."""

from __future__ import annotations

import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from edge import clock
from edge.config import Settings
from edge.doctor.finding import Finding, fail, ok, warn

_EARLIEST = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""Before this program was written, so a clock that says so has never been set."""
_LEAST_FREE_MB = 20.0


def check_clock(_settings: Settings) -> Iterator[Finding]:
    """Whether the times of events can be believed."""
    yield judge_clock(clock.utc_now(), synchronised=clock.is_synchronised())


def judge_clock(now: datetime, *, synchronised: bool) -> Finding:
    """A clock that says `now`, and whether a time source has set it."""
    detail = f"{clock.rfc3339(now)}, {'synchronised' if synchronised else 'not synchronised'}"
    if now < _EARLIEST:
        return fail("clock", detail, "set the clock: timedatectl set-ntp true, and see that a time server is reachable")
    if not synchronised:
        remedy = "timedatectl set-ntp true; until then events say clock: unsynced (a container may not be told)"
        return warn("clock", detail, remedy)
    return ok("clock", detail)


def check_disk(settings: Settings) -> Iterator[Finding]:
    """Whether there is room for the outbox."""
    folder = _existing(settings.outbox_path.parent)
    try:
        free_mb = shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        yield fail("disk", f"{folder}: {error.strerror}", "set outbox.path to a folder on a disk that works")
        return
    detail = f"{free_mb:,.0f} MB free at {folder}; the outbox may take {settings.outbox.max_mb:g} MB"
    if free_mb < _LEAST_FREE_MB:
        yield fail("disk", detail, "free some space, or set outbox.path to another disk")
    elif free_mb < settings.outbox.max_mb:
        yield warn("disk", detail, "free some space, or set outbox.max_mb lower")
    else:
        yield ok("disk", detail)


def check_outbox(settings: Settings) -> Iterator[Finding]:
    """Whether this user may keep the outbox where it is to be."""
    path = settings.outbox_path
    folder = _existing(path.parent)
    remedy = f"let {_user()} write there (chown, or ReadWritePaths= of the service), or set outbox.path elsewhere"
    files = [file for suffix in ("", "-wal", "-shm") if _exists(file := Path(f"{path}{suffix}"))]
    shut = [file for file in files if not os.access(file, os.R_OK | os.W_OK)]
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        yield fail("outbox", f"{folder} takes no file of {_user()}: {error.strerror}", remedy)
        return
    if shut:
        yield fail("outbox", f"{shut[0]} cannot be read and written by {_user()}", remedy)
        return
    yield ok("outbox", f"{path}{'' if path in files else ', to be made at the first start'}")


def check_audio_group(_settings: Settings, folder: Path = Path("/dev/snd")) -> Iterator[Finding]:
    """Whether this user may open the sound cards; nothing where there are none."""
    nodes = sorted(folder.glob("pcm*c"))
    shut = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if shut:
        remedy = f"usermod -aG audio {_user()} and log in again; for a service, SupplementaryGroups=audio"
        yield fail("permissions", f"{_user()} may not open {shut[0]}", remedy)
    elif nodes:
        yield ok("permissions", f"{_user()} may open {', '.join(node.name for node in nodes)}")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    folder = folder.absolute()
    while not _exists(folder) and folder != folder.parent:
        folder = folder.parent
    return folder


def _exists(path: Path) -> bool:
    """Whether this user can see it; `Path.exists` raises below a folder that he may not enter."""
    return os.access(path, os.F_OK)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"user {os.geteuid()}"
