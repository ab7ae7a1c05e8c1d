"""The outbox: messages on disk until the broker has acknowledged them.

Does: writes a message durably before anybody publishes it, hands waiting messages out oldest first, forgets those that
were acknowledged, and bounds what waits by size and age. While the disk takes no writes (full, read-only, failing) it
holds new messages in memory, hands them out all the same, and writes them as soon as it can. Does not: publish, or look
into a payload.

One process owns the file, guarded by a lock beside it; within it any thread may call.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import structlog

from edge import clock
from edge.errors import OutboxError

log = structlog.get_logger()

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
_HELD_LIMIT = 1000
"""Messages held in memory while the disk takes no writes: about half a megabyte."""
_DROP_SHARE = 100
"""The size cap drops this fraction (1/100) of the waiting messages at a time, so that it acts and logs seldom."""
_DROPS_PER_LINE = 100
"""Dropped messages are told at the first and then once for so many."""
_WAL_LIMIT_BYTES = 4_000_000


@dataclass(frozen=True)
class Row:
    """A message that waits."""

    number: int
    """Grows with every message put, also across restarts; messages held in memory count on from the last one."""
    event_id: str
    topic: str
    payload: bytes


class Outbox:
    """Owns the outbox file from opening to `close`."""

    def __init__(self, path: Path, *, max_mb: float, max_age_days: float) -> None:
        """Open the file, creating it and its folder where they are missing.

        Args:
            path: the SQLite file.
            max_mb: most megabytes (10^6 bytes) of waiting messages.
            max_age_days: most days that a message waits.

        Raises:
            OutboxError: the folder cannot be written, the file is no outbox, or another process has it open.
        """
        self._path = path
        self._max_bytes = max_mb * 1e6
        self._max_age_s = max_age_days * 86_400
        self._mutex = threading.Lock()
        self._held: OrderedDict[str, Row] = OrderedDict()
        self._acknowledged: set[str] = set()
        self._trouble = ""
        self._dropped = 0
        self._lock_file = _lock(path)
        try:
            self._database = _open(path)
            self._last_number = self._scalar("SELECT seq FROM sqlite_sequence WHERE name = 'message'")
            self._depth = self._scalar("SELECT count(*) FROM message")
        except BaseException:
            self._lock_file.close()
            raise

    @property
    def depth(self) -> int:
        """Messages that wait, on disk and in memory."""
        with self._mutex:
            return max(self._depth - len(self._acknowledged), 0) + len(self._held)

    @property
    def last_number(self) -> int:
        """The number of the newest message ever put."""
        with self._mutex:
            return self._last_number

    @property
    def trouble(self) -> str:
        """Why the disk takes no writes; empty while it does."""
        return self._trouble

    @property
    def dropped(self) -> int:
        """Messages given up since the outbox was opened: over the size or age cap, or over the limit in memory."""
        return self._dropped

    def put(self, event_id: str, topic: str, payload: bytes) -> None:
        """Store a message; on return it is on disk, or held in memory and said so in the log while the disk fails.

        A message whose `event_id` already waits is not stored twice.
        """
        with self._mutex:
            self._last_number += 1
            self._held[event_id] = Row(self._last_number, event_id, topic, payload)
            self._settle()
            while len(self._held) > _HELD_LIMIT:
                self._held.popitem(last=False)
                self._count_dropped(1, "the disk takes no writes and the memory for events is full")

    def pending(self, limit: int, exclude: Collection[str] = ()) -> list[Row]:
        """At most `limit` waiting messages, oldest first, without those whose event_id is in `exclude`.

        Raises:
            OutboxError: the file cannot be read.
        """
        with self._mutex:
            skip = self._acknowledged.union(exclude)
            try:
                cursor = self._database.execute("SELECT number, event_id, topic, payload FROM message ORDER BY number")
                rows = _take((Row(*row) for row in cursor), limit, skip)
                cursor.close()
            except sqlite3.Error as error:
                raise OutboxError(f"{self._path}: cannot be read: {error}") from error
            return rows + _take(self._held.values(), limit - len(rows), skip)

    def delete(self, event_ids: Iterable[str]) -> None:
        """Forget messages that the broker has acknowledged; those already gone are passed over.

        While the disk takes no writes they are remembered as acknowledged and not handed out again.
        """
        with self._mutex:
            for event_id in event_ids:
                if self._held.pop(event_id, None) is None:
                    self._acknowledged.add(event_id)
            self._settle()

    def maintain(self) -> None:
        """Retry what the disk refused, and drop what is over the age cap; to be called every few seconds."""
        with self._mutex:
            self._settle()
            if self._trouble or not clock.is_synchronised():
                # A clock that was never set makes every age wrong; a message is not dropped on such evidence.
                return
            try:
                with self._database:
                    aged = self._database.execute(
                        "DELETE FROM message WHERE stored_at < ?", (time.time() - self._max_age_s,)
                    ).rowcount
            except sqlite3.Error as error:
                self._report(error)
            else:
                self._depth -= aged
                self._count_dropped(aged, "waited longer than outbox.max_age_days")

    def close(self) -> None:
        """Write what is still held, fold the log into the file, and let go of it."""
        with self._mutex:
            self._settle()
            if self._held:
                log.error("events_lost", events=len(self._held), outbox=str(self._path), reason=self._trouble)
            self._database.close()
            self._lock_file.close()

    def _settle(self) -> None:
        """Bring the file up to date with memory: deletions first, for they make room. Called with the mutex held."""
        if not self._held and not self._acknowledged:
            return
        stored_at = time.time() if clock.is_synchronised() else None
        try:
            with self._database:
                deleted = self._database.executemany(
                    "DELETE FROM message WHERE event_id = ?", [(event_id,) for event_id in self._acknowledged]
                ).rowcount
                inserted = self._database.executemany(
                    "INSERT OR IGNORE INTO message VALUES (?, ?, ?, ?, ?)",
                    [(row.number, row.event_id, row.topic, row.payload, stored_at) for row in self._held.values()],
                ).rowcount
        except sqlite3.Error as error:
            self._report(error)
            return
        self._depth += max(inserted, 0) - max(deleted, 0)
        self._acknowledged.clear()
        self._held.clear()
        if self._trouble:
            self._trouble = ""
            log.info("outbox_writable_again", outbox=str(self._path), waiting=self._depth)
        self._drop_oversize()

    def _drop_oversize(self) -> None:
        try:
            while self._depth and self._live_bytes() > self._max_bytes:
                with self._database:
                    gone = self._database.execute(
                        "DELETE FROM message WHERE number IN (SELECT number FROM message ORDER BY number LIMIT ?)",
                        (1 + self._depth // _DROP_SHARE,),
                    ).rowcount
                self._depth -= gone
                self._count_dropped(gone, "over outbox.max_mb")
        except sqlite3.Error as error:
            self._report(error)

    def _live_bytes(self) -> int:
        pages = self._scalar("PRAGMA page_count") - self._scalar("PRAGMA freelist_count")
        return pages * self._scalar("PRAGMA page_size")

    def _scalar(self, query: str) -> int:
        row = self._database.execute(query).fetchone()
        return int(row[0]) if row else 0

    def _count_dropped(self, count: int, reason: str) -> None:
        before, self._dropped = self._dropped, self._dropped + count
        if not before < self._dropped:
            return
        if before == 0 or before // _DROPS_PER_LINE != self._dropped // _DROPS_PER_LINE:
            log.error("oldest_events_dropped", events=count, since_start=self._dropped, reason=reason)

    def _report(self, error: sqlite3.Error) -> None:
        if not self._trouble:
            log.error(
                "outbox_not_writable",
                outbox=str(self._path),
                reason=str(error),
                action=f"holding up to {_HELD_LIMIT} events in memory; free the disk",
            )
        self._trouble = str(error)


def _take(rows: Iterable[Row], limit: int, skip: Collection[str]) -> list[Row]:
    taken: list[Row] = []
    for row in rows:
        if len(taken) >= limit:
            break
        if row.event_id not in skip:
            taken.append(row)
    return taken


def _lock(path: Path) -> IO[bytes]:
    """Take the lock that keeps a second process off the outbox; the system gives it back when this process dies."""
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


def _open(path: Path) -> sqlite3.Connection:
    try:
        database = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    except sqlite3.Error as error:
        raise OutboxError(f"{path}: cannot be opened: {error}; name a writable file as outbox.path") from error
    try:
        _prepare(database, path)
    except sqlite3.Error as error:
        database.close()
        raise OutboxError(f"{path}: cannot be used as outbox: {error}; move it away or name another file") from error
    except OutboxError:
        database.close()
        raise
    return database


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
