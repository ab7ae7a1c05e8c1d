"""Outboxes and a disk that refuses them, for the tests of the outbox."""

from __future__ import annotations

import contextlib
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from edge.outbox import Outbox
from tests.needs import MOUNTING, need_mounts
from tests.programs import ROOT


def open_outbox(path: Path, *, max_mb: float = 10, max_age_days: float = 30) -> Outbox:
    return Outbox(path, max_mb=max_mb, max_age_days=max_age_days)


def fill(outbox: Outbox, count: int, first: int = 0, size: int = 400) -> None:
    for number in range(first, first + count):
        outbox.put(f"event-{number}", "topic", b"x" * size)


def ids(outbox: Outbox, limit: int = 10_000) -> list[str]:
    return [row.event_id for row in outbox.pending(limit)]


@contextlib.contextmanager
def disk_without_room() -> Iterator[None]:
    """No file of this process may grow: to SQLite the same as a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def run_on_small_disk(program: str, folder: Path, size: str) -> None:
    """Run a program that ends with ``nothing lost``, on a real file system of that size which only it sees."""
    need_mounts()
    command = f'mount -t tmpfs -o size={size} tmpfs {folder} && exec "$0" -c "$1" {folder}'
    run = subprocess.run(
        [*MOUNTING, "sh", "-c", command, sys.executable, program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines()[-1:] == ["nothing lost"], run.stdout + run.stderr


def age(path: Path, days: float | None) -> None:
    database = sqlite3.connect(path)
    with database:
        if days is None:
            database.execute("UPDATE message SET stored_at = NULL")
        else:
            database.execute("UPDATE message SET stored_at = strftime('%s', 'now') - ? * 86400", (days,))
    database.close()
