"""Messages whose times came from a clock that nobody had set, and what they should have said.

Does: remembers what was put into the outbox while the clock was not synchronised, with the monotonic times behind it,
and, once the clock is set, puts each in again with the times that the clock gives now, as a revision: same id,
`revision` 1, `clock` synced, `historical` true. One that still waits is replaced; one that has been sent follows, and
its reader takes the higher revision. Does not: survive the end of the program, whose monotonic times end with it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from edge.clock import Reading, rfc3339
from edge.outbox import Outbox
from edge.payloads import to_bytes

log = structlog.get_logger()

REMEMBERED = 10_000
"""Messages; the oldest are forgotten, and stay as they are: unsynced."""
SLICE = 100
"""Messages corrected in one turn, each of which waits for the disk twice."""


@dataclass(frozen=True)
class _Untimed:
    key: str
    topic: str
    payload: dict[str, Any]
    times_s: Mapping[str, float]
    telemetry: bool


class Corrections:
    """Any thread notes, one calls `turn`."""

    def __init__(self, outbox: Outbox) -> None:
        """Nothing to correct yet."""
        self._outbox = outbox
        self._lock = threading.Lock()
        self._untimed: deque[_Untimed] = deque(maxlen=REMEMBERED)

    def note(
        self,
        key: str,
        topic: str,
        payload: dict[str, Any],
        times_s: Mapping[str, float],
        *,
        telemetry: bool = False,
    ) -> None:
        """Remember a message that has just been put into the outbox as `key`.

        times_s: the monotonic time, in seconds, behind each of its fields that hold a time of day. telemetry: as it was
        put.
        """
        with self._lock:
            self._untimed.append(_Untimed(key, topic, payload, times_s, telemetry))

    def turn(self, now: Reading) -> int:
        """Correct some of what is remembered, if the clock is set; returns how many, 0 when there is nothing to do."""
        if not now.synchronised:
            return 0
        with self._lock:
            due = [self._untimed.popleft() for _ in range(min(SLICE, len(self._untimed)))]
        for untimed in due:
            times = {field: rfc3339(now.at(seconds)) for field, seconds in untimed.times_s.items()}
            revised = {**untimed.payload, **times, "clock": "synced", "historical": True, "revision": 1}
            # First the new one, then the old one away: a loss of power in between leaves both. A key of its own,
            # because the old one may be on its way right now, and its acknowledgement must not take the new one along.
            self._outbox.put(f"{untimed.key}.1", untimed.topic, to_bytes(revised), telemetry=untimed.telemetry)
            self._outbox.delete([untimed.key])
        if due:
            log.info("times_corrected", messages=len(due), now=rfc3339(now.utc))
        return len(due)
