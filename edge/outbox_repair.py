"""A damaged outbox file: sets it aside and takes over what can be read of it.

Does: copies every readable message into a new file, keeps the damaged one as `outbox.db.damaged-TIME`, and puts the new
one in its place, so that a crash at any moment leaves one of the two to go on with. Does not: read what SQLite itself
cannot (`sqlite3 outbox.db.damaged-TIME .recover` sometimes can), or find out about damage (`edge.outbox` does).
"""

from __future__ import annotations

import contextlib
import errno
import heapq
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog

from edge import clock
from edge.outbox_file import open_database

log = structlog.get_logger()

_COLUMNS = ("number", "event_id", "topic", "payload", "telemetry", "stored_at")
_RANGE_LIMIT = 5_000
"""Parts of one file that are tried: damage in very many places must not keep the device from going on."""
_LARGEST = 2**62
_DAMAGED_KEPT = 2


def repair(path: Path) -> str:
    """Put a new file in the place of a damaged one, which nobody has open, with what can be read of it.

    Returns what was done, in a few words.

    Raises:
        OSError, sqlite3.Error: the disk refuses; the damaged file is where it was, and the attempt can be repeated.
    """
    fresh = _beside(path, ".salvaging")
    _remove(fresh)
    with contextlib.closing(open_database(fresh)) as database:
        saved = 0
        with database:
            for message in filter(_is_whole, _readable(path)):
                row = {"telemetry": 0, **message}
                saved += database.execute(
                    "INSERT OR IGNORE INTO message (number, event_id, topic, payload, telemetry, stored_at) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    [row[name] for name in _COLUMNS],
                ).rowcount
    if _beside(fresh, "-wal").exists():  # closing has not folded it into the file
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(fresh))
    fresh.replace(_beside(path, ".salvaged"))
    kept_as = finish_repair(path)
    log.warning("outbox_salvaged", outbox=str(path), messages=saved, damaged_file=kept_as)
    return f"was damaged; {saved} messages could be read and go on, the damaged file is {kept_as}"


def finish_repair(path: Path) -> str:
    """Put the new file of a repair in place, if there is one: also of a repair that a crash has interrupted.

    Returns the name that the damaged file has now; empty where there was nothing to do.

    Raises:
        OSError: the disk refuses.
    """
    salvaged = _beside(path, ".salvaged")
    if not salvaged.exists():
        return ""
    aside = ".damaged-" + clock.utc_now().strftime("%Y%m%dT%H%M%SZ")
    # The log first: beside the new file it would be taken for that one's.
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            _beside(path, suffix).rename(_beside(path, aside + suffix))
    salvaged.rename(path)
    _forget_older(path, path.name + aside)
    return path.name + aside


def _forget_older(path: Path, latest: str) -> None:
    """Remove damaged files but `latest` and the newest other: old events would fill a disk that wears out."""
    name = re.compile(re.escape(path.name) + r"\.damaged-\d{8}T\d{6}Z")
    others = sorted({file.name for file in path.parent.iterdir() if name.fullmatch(file.name)} - {latest})
    for other in others[: 1 - _DAMAGED_KEPT]:
        with contextlib.suppress(OSError):
            _remove(path.with_name(other))


def _readable(path: Path) -> Iterator[dict[str, Any]]:
    """The messages of a damaged file that SQLite can read, in no particular order."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        # The widest range first, so that what lies around a large hole is read before the hole is searched.
        ranges = [(-_LARGEST, 0, _LARGEST)]
        for _ in range(_RANGE_LIMIT):
            if not ranges:
                return
            _, low, high = heapq.heappop(ranges)
            try:
                for message in _scan(database, low, high, "ASC"):
                    yield message
                    low = message["number"] + 1
                continue
            except sqlite3.DatabaseError:
                pass  # a bad page at `low`
            with contextlib.suppress(sqlite3.DatabaseError):
                for message in _scan(database, low, high, "DESC"):
                    yield message
                    high = message["number"] - 1
            if low < high:
                middle = (low + high) // 2
                heapq.heappush(ranges, (low - middle, low, middle))
                heapq.heappush(ranges, (middle + 1 - high, middle + 1, high))


def _scan(database: sqlite3.Connection, low: int, high: int, order: str) -> Iterator[dict[str, Any]]:
    """The messages numbered from `low` to `high`, up to the first that cannot be read."""
    query = f"SELECT * FROM message WHERE number BETWEEN ? AND ? ORDER BY number {order}"  # noqa: S608 - a constant
    with contextlib.closing(database.execute(query, (low, high))) as cursor:
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))


def _is_whole(message: dict[str, Any]) -> bool:
    """Whether a message can be sent: what was written over a page may read as anything."""
    topic = message["topic"]
    return (
        isinstance(message["event_id"], str)
        and isinstance(message["payload"], bytes)
        and isinstance(topic, str)
        and bool(topic)
        and not set("+#\0") & set(topic)
    )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        _beside(path, suffix).unlink(missing_ok=True)
