"""The file of the outbox: locks it, opens it, and makes sure that it is one.

Does: keeps a second process and every other database off, creates the table in a new file, and sets how durable a
commit is. Does not: read or write messages (`edge.outbox` does).
"""

from __future__ import annotations

import fcntl
import sqlite3
from pathlib import Path
from typing import IO

from edge.errors import OutboxError

_APPLICATION_ID = 0x41435541
"""Marks the file as ours ("ACUA"), so that no other program's database is written to."""
_SCHEMA_VERSION = 1
_SCHEMA = f"""
CREATE TABLE message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    topic TEXT NOT NULL,
    payload BLOB NOT NULL,
    stored_at REAL  -- Unix time in seconds; NULL while the clock was not synchronised
);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_SCHEMA_VERSION};
"""

_BUSY_TIMEOUT_S = 5.0
_WAL_LIMIT_BYTES = 4_000_000


def lock(path: Path) -> IO[bytes]:
    """Take the lock that keeps a second process off the outbox; the system gives it back when this process dies.

    Raises:
        OutboxError: the folder cannot be written, the file is no database, or another process has the lock.
    """
    remedy = "name a writable file as outbox.path"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = path.open("rb").read(16) if path.exists() else b""
    except OSError as error:
        raise OutboxError(f"{path}: cannot be created: {error.strerror}; {remedy}") from error
    if header not in (b"", b"SQLite format 3\0"):
        raise OutboxError(f"{path}: is not an outbox; move it away or name another file as outbox.path")
    try:
        lock_file = path.with_name(path.name + ".lock").open("ab")
    except OSError as error:
        raise OutboxError(f"{path}: its folder cannot be written: {error.strerror}; {remedy}") from error
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock_file.close()
        raise OutboxError(f"{path}: is in use by another process; stop it or name another outbox.path") from error
    return lock_file


def open_database(path: Path) -> tuple[sqlite3.Connection, int, int]:
    """Open the file, created where it is missing: the database, the newest number ever given, and how many wait.

    Raises:
        OutboxError: the file is no outbox, is damaged, or cannot be written.
    """
    try:
        database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    except sqlite3.Error as error:
        raise OutboxError(f"{path}: cannot be opened: {error}; name a writable file as outbox.path") from error
    try:
        _prepare(database, path)
        last_number = _scalar(database, "SELECT seq FROM sqlite_sequence WHERE name = 'message'")
        return database, last_number, _scalar(database, "SELECT count(*) FROM message")
    except sqlite3.Error as error:
        database.close()
        remedy = "move it away" if is_damage(error) else "see that its disk has room and can be written"
        raise OutboxError(f"{path}: cannot be used as outbox: {error}; {remedy}, or name another file") from error
    except OutboxError:
        database.close()
        raise


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is to blame, not a disk that is full, fails or is read-only."""
    return type(error) is sqlite3.DatabaseError  # its subclasses are about the disk, or about the program


def _scalar(database: sqlite3.Connection, query: str) -> int:
    row = database.execute(query).fetchone()
    return int(row[0]) if row else 0


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    application = database.execute("PRAGMA application_id").fetchone()[0]
    version = database.execute("PRAGMA user_version").fetchone()[0]
    is_new = application == 0 and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if not is_new and application != _APPLICATION_ID:
        raise OutboxError(f"{path}: is a database of another program; name another file as outbox.path")
    if not is_new and version != _SCHEMA_VERSION:
        raise OutboxError(f"{path}: has outbox format {version}, this program has {_SCHEMA_VERSION}; move it away")
    if database.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise OutboxError(f"{path}: its file system holds no write-ahead log; name a file on a local disk")
    # FULL: a commit survives loss of power. NORMAL may lose the last commits.
    database.execute("PRAGMA synchronous = FULL")
    database.execute(f"PRAGMA journal_size_limit = {_WAL_LIMIT_BYTES}")
    if is_new:
        database.executescript(f"BEGIN;{_SCHEMA}COMMIT;")
    # A file that can only be read shows it here, at start, and not at the first event.
    database.execute("BEGIN IMMEDIATE")
    database.execute("ROLLBACK")
