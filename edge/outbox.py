"""The outbox: messages on disk until the broker has acknowledged them.

Does: writes a message durably before anybody publishes it, hands waiting messages out oldest first, forgets those that
were acknowledged, and bounds what waits by size and age, telemetry before events and the oldest of each first. While
the disk takes no writes (full, read-only, failing), from the start or later, it holds new messages in memory, hands
them out all the same, and writes them as soon as it can. A damaged file is set aside and what can be read of it taken
over (`edge.outbox_repair`). Does not: publish, or look into a payload.

One process owns the file, guarded by a lock beside it; within it any thread may call. A crash loses nothing that `put`
has returned from. Deletions do not wait for the disk, so loss of power may bring back, for repetition, what was
acknowledged since the last `put`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import IO, TypeVar

import structlog

from edge import clock
from edge.errors import OutboxError
from edge.outbox_file import OutboxFile, Row, first, is_damage, lock
from edge.outbox_repair import finish_repair, repair
from edge.outbox_troubles import Losses, Troubles

log = structlog.get_logger()
T = TypeVar("T")

HELD_LIMIT = 1000
"""Messages held in memory while the disk takes no writes: about half a megabyte."""
_DROP_SHARE = 100
"""The size cap drops this fraction (1/100) of the waiting messages at a time, so that it acts and logs seldom."""


class Outbox:
    """Owns the outbox file from opening to `close`."""

    def __init__(self, path: Path, *, max_mb: float, max_age_days: float) -> None:
        """Open the file, creating it and its folder where they are missing.

        A disk that takes no writes is no error: it is told in the log and in `trouble`, and tried again by `maintain`.

        Args:
            path: the SQLite file.
            max_mb: most megabytes (10^6 bytes) of waiting messages.
            max_age_days: most days that a message waits.

        Raises:
            OutboxError: the path cannot be a file here, the file is no outbox, or another process has it open.
        """
        self._path = path
        self._max_bytes = max_mb * 1e6
        self._max_age_s = max_age_days * 86_400
        self._mutex = threading.Lock()
        self._held: OrderedDict[str, Row] = OrderedDict()
        self._acknowledged: set[str] = set()
        self._troubles = Troubles(path, HELD_LIMIT)
        self._losses = Losses()
        self._lock_file: IO[bytes] | None = None
        self._file: OutboxFile | None = None
        self._base: int | None = None
        """What the file's numbers exceed ours by; None until the file was opened."""
        self._last_number = 0
        self._left = 0
        """Messages in the file when it was closed, for who asks afterwards."""
        self._is_damaged = False
        try:
            self._reopen()
        except BaseException:
            self._let_go()
            raise

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._path

    @property
    def depth(self) -> int:
        """Messages that wait, on disk and in memory."""
        with self._mutex:
            return max(self._stored - len(self._acknowledged), 0) + len(self._held)

    @property
    def last_number(self) -> int:
        """The number of the newest message put in this run; 0 before the first."""
        with self._mutex:
            return self._last_number

    @property
    def trouble(self) -> str:
        """Why the disk takes no writes or cannot be read, or what was just repaired; empty while all is well."""
        return self._troubles.reason

    @property
    def dropped(self) -> int:
        """Messages given up since the outbox was opened: over the size or age cap, or over the limit in memory."""
        return self._losses.count

    def put(self, event_id: str, topic: str, payload: bytes, *, telemetry: bool = False) -> None:
        """Store a message; on return it is on disk, or held in memory and said so in the log while the disk fails.

        A message whose `event_id` already waits is not stored twice. `telemetry` is given up before any event.
        """
        with self._mutex:
            self._last_number += 1
            self._held[event_id] = Row(self._last_number, event_id, topic, payload, telemetry)
            self._settle()
            while len(self._held) > HELD_LIMIT:
                oldest = next((key for key, row in self._held.items() if row.telemetry), next(iter(self._held)))
                del self._held[oldest]
                self._losses.add(1, "the disk takes no writes and the memory for events is full")

    def pending(self, limit: int, *, without_topics: Collection[str] = (), after: int | None = None) -> list[Row]:
        """At most `limit` waiting messages, oldest first.

        without_topics: none on these. after: only messages with a greater number; None: all.
        """
        with self._mutex:
            skip = self._acknowledged
            rows = self._mending("read", lambda file: file.read(limit, skip, after, without_topics)) or []
            newer = (
                row
                for row in self._held.values()
                if (after is None or row.number > after) and row.topic not in without_topics
            )
            return [*rows, *first(newer, limit - len(rows), skip)]

    def delete(self, event_ids: Iterable[str]) -> None:
        """Forget messages that the broker has acknowledged; those already gone are passed over.

        While the disk takes no writes they are remembered as acknowledged and not handed out again.
        """
        with self._mutex:
            stored = {event_id for event_id in event_ids if self._held.pop(event_id, None) is None}
            self._acknowledged |= stored
            self._settle()
            if self._acknowledged and stored:
                # What is gone already must not count as a message less.
                known = self._mending("read", lambda file: file.known(stored))
                self._acknowledged -= stored - (stored if known is None else known)

    def maintain(self) -> None:
        """Retry what the disk refused, and drop what is over the age cap; to be called every few seconds."""
        with self._mutex:
            if self._file is None:
                self._reopen_while_running()
            self._settle()
            # A clock that was never set makes every age wrong; a message is not dropped on such evidence.
            if clock.is_synchronised():
                oldest = time.time() - self._max_age_s
                aged = self._mending("age", lambda file: file.drop_stored_before(oldest))
                self._losses.add(aged or 0, "waited longer than outbox.max_age_days")

    def close(self) -> None:
        """Write what is still held, fold the log into the file, and let go of it."""
        with self._mutex:
            self._settle()
            if self._held:
                log.error("events_lost", events=len(self._held), outbox=str(self._path), reason=self._troubles.reason)
            self._left = self._stored
            self._let_go()

    @property
    def _stored(self) -> int:
        return self._file.depth if self._file else self._left

    def _reopen(self) -> None:
        """Lock and open the file, mending it where it is damaged; a disk that refuses is noted as trouble.

        Raises:
            OutboxError: as the constructor says.
        """
        try:
            if self._lock_file is None:
                self._lock_file = lock(self._path)
            if finish_repair(self._path):
                self._is_damaged = False
            self._file = self._open_file()
        except OutboxError:  # which is an OSError, too
            raise
        except (OSError, sqlite3.Error) as error:
            self._troubles.report("open", error)
            return
        self._base = self._file.base
        for operation in ("open", "damage"):
            self._troubles.recover(operation, self._stored)

    def _reopen_while_running(self) -> None:
        try:
            self._reopen()
        except OutboxError as error:  # only at the start does it end the program
            self._troubles.report("open", error)

    def _open_file(self) -> OutboxFile:
        if not self._is_damaged:
            try:
                return OutboxFile(self._path, self._base)
            except sqlite3.Error as error:
                if not is_damage(error):
                    raise
                self._note_damage(error)
        self._troubles.note(repair(self._path))
        self._is_damaged = False
        return OutboxFile(self._path, self._base)

    def _note_damage(self, error: sqlite3.Error) -> None:
        self._troubles.report("damage", error)
        self._is_damaged = True

    def _let_go(self) -> None:
        for owned in (self._file, self._lock_file):
            if owned is not None:
                with contextlib.suppress(sqlite3.Error, OSError):
                    owned.close()
        self._file = self._lock_file = None

    def _mending(self, operation: str, act: Callable[[OutboxFile], T]) -> T | None:
        """Do something with the file; mend it where it is damaged and do it again. None where the disk refuses."""
        for is_mended in (False, True):
            if self._file is None:
                break
            try:
                done = act(self._file)
            except sqlite3.Error as error:
                if is_mended or not is_damage(error):
                    self._troubles.report(operation, error)
                    break
                self._note_damage(error)
                with contextlib.suppress(sqlite3.Error):
                    self._file.close()
                self._file = None
                self._reopen_while_running()
            else:
                self._troubles.recover(operation, self._stored)
                return done
        return None

    def _settle(self) -> None:
        """Bring the file up to date with memory. Called with the mutex held."""
        if not self._held and not self._acknowledged and not self._troubles.includes("write", "size"):
            return
        stored_at = time.time() if clock.is_synchronised() else None
        if self._mending("write", lambda file: self._write(file, stored_at)):
            self._mending("size", self._drop_oversize)

    def _write(self, file: OutboxFile, stored_at: float | None) -> bool:
        file.write(self._held.values(), self._acknowledged, stored_at)
        self._held.clear()
        self._acknowledged.clear()
        return True

    def _drop_oversize(self, file: OutboxFile) -> None:
        while file.depth and file.size_bytes() > self._max_bytes:
            dropped = file.drop_oldest(1 + file.depth // _DROP_SHARE)
            self._losses.add(dropped, "over outbox.max_mb")
