"""What goes wrong with the outbox, told once: a disk that refuses, a damaged file, messages given up.

Does: remembers which operations the disk refuses, counts what was lost, and says each in the log when it begins and
when it is over. Does not: touch the file or decide what is lost.
"""

from __future__ import annotations

import time
from pathlib import Path

import structlog

log = structlog.get_logger()

_DROPS_PER_LINE = 100
"""Dropped messages are told at the first and then once for so many."""

_NOTE_S = 600.0


class Troubles:
    """What the disk refuses, by the operation; each stands until that operation succeeds."""

    def __init__(self, outbox: Path, held_limit: int) -> None:
        """Speak of this file, and of so many messages that memory holds meanwhile."""
        self._outbox = str(outbox)
        self._held_limit = held_limit
        self._reasons: dict[str, str] = {}
        self._note = ""
        self._note_until = 0.0

    @property
    def reason(self) -> str:
        """The first trouble that stands, or the repair that was just made; empty while all is well. Any thread."""
        note = self._note if time.monotonic() < self._note_until else ""
        return next(iter(list(self._reasons.values())), note)

    def includes(self, *operations: str) -> bool:
        """Whether one of these operations is refused."""
        return any(operation in self._reasons for operation in operations)

    def report(self, operation: str, error: Exception) -> None:
        """Note that an operation failed, and tell it unless the same has been told of this or another one."""
        reason = str(getattr(error, "strerror", None) or error)
        if operation not in self._reasons and reason not in self._reasons.values():
            if operation == "damage":
                event, action = "outbox_damaged", "setting the file aside, and taking over what can be read of it"
            else:
                event = "outbox_not_writable"
                action = f"free or repair the disk; up to {self._held_limit} events wait in memory until then"
            log.error(event, outbox=self._outbox, reason=reason, action=action)
        self._reasons[operation] = reason

    def note(self, repair: str) -> None:
        """Name a repair as trouble for a while, so that somebody who reads the status learns of it."""
        self._note = repair
        self._note_until = time.monotonic() + _NOTE_S

    def recover(self, operation: str, waiting: int) -> None:
        """Note that an operation succeeded, and tell it when nothing else is wrong any more."""
        if self._reasons.pop(operation, None) is not None and not self._reasons:
            log.info("outbox_writable_again", outbox=self._outbox, waiting=waiting)


class Losses:
    """Counts the messages that were given up."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, messages: int, reason: str) -> None:
        """Count messages given up for `reason`; none is nothing."""
        before, self.count = self.count, self.count + messages
        if not before < self.count:
            return
        if before == 0 or before // _DROPS_PER_LINE != self.count // _DROPS_PER_LINE:
            log.error("oldest_events_dropped", events=messages, since_start=self.count, reason=reason)
