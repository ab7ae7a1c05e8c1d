"""The file of the outbox: locks it, opens it, makes sure that it is one, and reads and writes its messages.

Does: keeps a second process and every other database off, creates the table in a new file, brings that of an earlier
program up to date, and decides how durable a commit is. Does not: hold messages in memory (`edge.outbox`), or mend a
damaged file (`edge.outbox_repair`). Whatever SQLite raises is raised.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge.errors import OutboxError
from edge.files import DISK_REFUSES, give_to_owner_of, make_private

_APPLICATION_ID = 0x41435541
"""Marks the file as ours ("ACUA"), so that no other program's database is written to."""
_SCHEMA_VERSION = 2
"""2 added `telemetry`."""
_INDEX = "CREATE INDEX message_telemetry ON message (number) WHERE telemetry;"
_SCHEMA = f"""
CREATE TABLE message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    telemetry INTEGER NOT NULL DEFAULT 0,  -- 1: given up before any event
    stored_at REAL  -- Unix time in seconds; NULL while the clock was not synchronised
);
{_INDEX}
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""
_FROM_1 = f"""
ALTER TABLE message ADD COLUMN telemetry INTEGER NOT NULL DEFAULT 0;
{_INDEX}
PRAGMA user_version = {_SCHEMA_VERSION};
"""

_TOUCH = f"PRAGMA user_version = {_SCHEMA_VERSION}"
"""Changes nothing and is written all the same: what shows that the disk takes writes again."""
_SELECT = "SELECT number, event_id, topic, payload, telemetry FROM message WHERE number > ?"
_INSERT = "INSERT OR IGNORE INTO message (number, event_id, topic, payload, telemetry, stored_at) VALUES (?,?,?,?,?,?)"
_DROP_OLDEST = (
    "DELETE FROM message WHERE number IN (SELECT number FROM message WHERE telemetry ORDER BY number LIMIT ?)",
    "DELETE FROM message WHERE number IN (SELECT number FROM message ORDER BY number LIMIT ?)",
)
"""Telemetry goes before any event."""

_BUSY_TIMEOUT_S = 5.0
_WAL_LIMIT_BYTES = 4_000_000


@dataclass(frozen=True)
class Row:
    """A message that waits."""

    number: int
    """Grows with every message put; those of earlier runs have 0 and less."""
    event_id: str
    topic: str
    payload: bytes
    telemetry: bool
    """Given up before any event where room is short."""


class OutboxFile:
    """Owns the open database; `lock` first, and hold that lock for as long."""

    def __init__(self, path: Path, base: int | None) -> None:
        """Open the file, created where it is missing.

        base: by how much the file's numbers exceed those of this run; None: by its newest one.

        Raises:
            OutboxError: the file is no outbox, or of a program that this one does not know.
            sqlite3.Error: it is damaged (`is_damage`), or the disk refuses.
        """
        self._database = open_database(path)
        try:
            newest = _scalar(self._database, "SELECT seq FROM sqlite_sequence WHERE name = 'message'")
            self.base = newest if base is None else base
            self.depth = _scalar(self._database, "SELECT count(*) FROM message")
            """Messages in the file."""
        except sqlite3.Error:
            self._database.close()
            raise

    def read(
        self, limit: int, skip: Collection[str], after: int | None, without_topics: Collection[str] = ()
    ) -> list[Row]:
        """At most `limit` messages, oldest first, without those in `skip`; only numbers above `after`."""
        start = 0 if after is None else self.base + after
        others = "".join(" AND topic <> ?" for _ in without_topics)
        query = f"{_SELECT}{others} ORDER BY number"
        with contextlib.closing(self._database.execute(query, (start, *without_topics))) as cursor:
            rows = (
                Row(number - self.base, event_id, topic, payload, bool(telemetry))
                for number, event_id, topic, payload, telemetry in cursor
            )
            return first(rows, limit, skip)

    def known(self, event_ids: Collection[str]) -> set[str]:
        """Those of the messages that are in the file."""
        query = "SELECT event_id FROM message WHERE event_id = ?"
        rows = (self._database.execute(query, (event_id,)).fetchone() for event_id in event_ids)
        return {row[0] for row in rows if row is not None}

    def write(self, new: Collection[Row], gone: Collection[str], stored_at: float | None) -> None:
        """Delete the messages `gone` and insert those `new`, in one transaction; also written where both are empty."""
        # A deletion that loss of power undoes costs a repetition only: it need not wait for the disk.
        self._database.execute(f"PRAGMA synchronous = {'NORMAL' if gone and not new else 'FULL'}")
        with self._database:
            # Deletions first, for they make room.
            deleted = self._database.executemany(
                "DELETE FROM message WHERE event_id = ?", [(event_id,) for event_id in gone]
            ).rowcount
            inserted = self._database.executemany(
                _INSERT,
                [
                    (self.base + row.number, row.event_id, row.topic, row.payload, row.telemetry, stored_at)
                    for row in new
                ],
            ).rowcount
            if not new and not gone:
                self._database.execute(_TOUCH)
        self.depth += max(inserted, 0) - max(deleted, 0)

    def drop_stored_before(self, instant: float) -> int:
        """Drop messages stored before a Unix time in seconds; returns how many."""
        return self._count_out("DELETE FROM message WHERE stored_at < ?", instant)

    def drop_oldest(self, count: int) -> int:
        """Drop the oldest telemetry, or where there is none the oldest messages: `count` at most; returns how many."""
        return next(filter(None, (self._count_out(query, count) for query in _DROP_OLDEST)), 0)

    def size_bytes(self) -> int:
        """What the messages and their index take, without the room that deleted ones left."""
        count, unused, size = (
            _scalar(self._database, f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
        )
        return (count - unused) * size

    def close(self) -> None:
        """Fold the log into the file and let go of it."""
        self._database.close()

    def _count_out(self, query: str, value: float) -> int:
        with self._database:
            gone = self._database.execute(query, (value,)).rowcount
        self.depth -= gone  # which the disk has taken
        return gone


def first(rows: Iterable[Row], limit: int, skip: Collection[str]) -> list[Row]:
    """At most `limit` of the rows, without those in `skip`."""
    return list(itertools.islice((row for row in rows if row.event_id not in skip), max(limit, 0)))


def lock(path: Path) -> IO[bytes]:
    """Take the lock that keeps a second process off the outbox; the system gives it back when this process dies.

    The lock's file stays, and shows by its name which file is an outbox even when that one is damaged.

    Raises:
        OutboxError: the path cannot be a file here, the file is no database, or another process has the lock.
        OSError: the disk refuses for now.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        make_private(path.parent)
        header = _header(path) if path.exists() and not beside.exists() else b""
        lock_file = _open_private(beside) if header in (b"", b"SQLite format 3\0") else None
    except OSError as error:
        if error.errno in DISK_REFUSES:
            raise
        reason = f"cannot be created: {error.strerror}"
        raise OutboxError(f"{path}: {reason}; name a writable file as outbox.path") from error
    if lock_file is None:
        raise OutboxError(f"{path}: is not an outbox; move it away or name another file as outbox.path")
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.close()
        raise OutboxError(f"{path}: is in use by another process; stop it or name another outbox.path") from error
    return lock_file


def _open_private(path: Path) -> IO[bytes]:
    """Open a file for appending; where it is missing it is made for its user alone, and for the folder's owner."""
    is_new = not path.exists()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    if is_new:
        give_to_owner_of(path.parent, path)
    with contextlib.suppress(OSError):  # of another user, or of an earlier version on a disk that takes no writes
        os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "ab")


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database, its table created where it is missing.

    Raises:
        OutboxError: the file is no outbox, or of a program that this one does not know.
        sqlite3.Error: it is damaged (`is_damage`), or the disk refuses.
    """
    with contextlib.suppress(OSError):  # SQLite says what is wrong
        # It gives its log and its index the mode of the file.
        _open_private(path).close()
    database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        _prepare(database, path)
    except BaseException:
        database.close()
        raise
    return database


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is to blame, not a disk that is full, fails or is read-only."""
    # The subclasses of DatabaseError are about the disk or the program, but for letters that cannot be any.
    return type(error) is sqlite3.DatabaseError or "decode" in str(error)


def _scalar(database: sqlite3.Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    return int(row[0]) if row else 0


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    application = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    is_new = application == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not is_new and application != _APPLICATION_ID:
        raise OutboxError(f"{path}: is a database of another program; name another file as outbox.path")
    if not is_new and version not in (1, _SCHEMA_VERSION):
        raise OutboxError(f"{path}: has outbox format {version}, this program has {_SCHEMA_VERSION}; move it away")
    if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise OutboxError(f"{path}: its file system holds no write-ahead log; name a file on a local disk")
    # FULL: a commit survives loss of power. NORMAL may lose the last commits.
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    if is_new:
        database.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
    elif version == 1:
        database.executescript(f"BEGIN;{_FROM_1}COMMIT;")
