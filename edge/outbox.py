"""The outbox: messages on disk until the broker has acknowledged them.

Does: writes a message durably before anybody publishes it, hands waiting messages out oldest first, forgets those that
were acknowledged, and bounds what waits by size and age. While the disk takes no writes (full, read-only, failing) it
holds new messages in memory, hands them out all the same, and writes them as soon as it can. Of a file with a damaged
page it hands out what can be read. Does not: publish, or look into a payload.

One process owns the file, guarded by a lock beside it; within it any thread may call.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import structlog

from edge import clock
from edge.outbox_file import is_damage, lock, open_database

log = structlog.get_logger()

_HELD_LIMIT = 1000
"""Messages held in memory while the disk takes no writes: about half a megabyte."""
_DROP_SHARE = 100
"""The size cap drops this fraction (1/100) of the waiting messages at a time, so that it acts and logs seldom."""
_DROPS_PER_LINE = 100
"""Dropped messages are told at the first and then once for so many."""
_TOUCH = "PRAGMA user_version = 1"
"""Changes nothing and is written all the same: what shows that the disk takes writes again."""


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
        self._troubles: dict[str, str] = {}
        """What the disk refuses, by the operation; each stands until that operation succeeds."""
        self._dropped = 0
        self._lock_file = lock(path)
        try:
            self._database, self._last_number, self._depth = open_database(path)
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
        """Why the disk takes no writes or cannot be read; empty while all is well."""
        with self._mutex:
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

        Of a file with a damaged page it is those before the damage, then those behind it from the newest back.
        """
        with self._mutex:
            skip = self._acknowledged.union(exclude)
            rows: list[Row] = []
            try:
                self._read("SELECT number, event_id, topic, payload FROM message ORDER BY number", rows, limit, skip)
            except sqlite3.Error as error:
                self._report("read", error)
                with contextlib.suppress(sqlite3.Error):
                    newest_first = "SELECT number, event_id, topic, payload FROM message ORDER BY number DESC"
                    self._read(newest_first, rows, limit, skip.union(row.event_id for row in rows))
            else:
                if len(rows) < limit:  # otherwise the damage may lie behind what was read
                    self._recover("read")
            _take(rows, self._held.values(), limit, skip)
            return rows

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
            if not clock.is_synchronised():
                # A clock that was never set makes every age wrong; a message is not dropped on such evidence.
                return
            try:
                with self._database:
                    aged = self._database.execute(
                        "DELETE FROM message WHERE stored_at < ?", (time.time() - self._max_age_s,)
                    ).rowcount
            except sqlite3.Error as error:
                self._report("age", error)
            else:
                self._recover("age")
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
        idle = not self._held and not self._acknowledged
        if idle and not self._troubles.keys() & {"write", "size"}:
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
                if idle:
                    self._database.execute(_TOUCH)
        except sqlite3.Error as error:
            self._report("write", error)
            return
        self._depth += max(inserted, 0) - max(deleted, 0)
        self._acknowledged.clear()
        self._held.clear()
        self._recover("write")
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
            self._report("size", error)
        else:
            self._recover("size")

    def _read(self, query: str, rows: list[Row], limit: int, skip: Collection[str]) -> None:
        with contextlib.closing(self._database.execute(query)) as cursor:
            _take(rows, (Row(*row) for row in cursor), limit, skip)

    def _live_bytes(self) -> int:
        count, unused, size = (
            int(self._database.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        return (count - unused) * size

    def _count_dropped(self, count: int, reason: str) -> None:
        before, self._dropped = self._dropped, self._dropped + count
        if not before < self._dropped:
            return
        if before == 0 or before // _DROPS_PER_LINE != self._dropped // _DROPS_PER_LINE:
            log.error("oldest_events_dropped", events=count, since_start=self._dropped, reason=reason)

    @property
    def _trouble(self) -> str:
        return next(iter(self._troubles.values()), "")

    def _report(self, operation: str, error: sqlite3.Error) -> None:
        """Note that an operation failed, and tell it unless the same has been told of this or another one."""
        if operation not in self._troubles and str(error) not in self._troubles.values():
            damaged = is_damage(error)
            remedy = "stop the service, move the file away and start it again" if damaged else "free the disk"
            log.error(
                "outbox_damaged" if damaged else "outbox_not_writable",
                outbox=str(self._path),
                reason=str(error),
                action=f"holding up to {_HELD_LIMIT} events in memory where need be; {remedy}",
            )
        self._troubles[operation] = str(error)

    def _recover(self, operation: str) -> None:
        """Note that an operation succeeded, and tell it when nothing else is wrong any more."""
        if self._troubles.pop(operation, None) is not None and not self._troubles:
            log.info("outbox_writable_again", outbox=str(self._path), waiting=self._depth)


def _take(rows: list[Row], source: Iterable[Row], limit: int, skip: Collection[str]) -> None:
    """Add to `rows`, up to `limit` of them, from `source` what is not in `skip`."""
    for row in source:
        if len(rows) >= limit:
            break
        if row.event_id not in skip:
            rows.append(row)
