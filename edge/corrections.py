"""Messages whose times came from a clock that nobody had set, and what they should have said.

Does: remembers what was put into the outbox while the clock was not synchronised, with the monotonic times behind it,
and, once the clock is set, puts each in again with the times that the clock gives now, as a revision: same id,
`revision` 1, `clock` synced, `historical` true. One that still waits is replaced; one that has been sent follows, and
its reader takes the higher revision. A restart of the program forgets none (`edge.untimed`). Does not: survive the end
of the machine's run, whose monotonic times end with it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog

from edge.clock import Reading, rfc3339
from edge.outbox import Outbox
from edge.payloads import to_bytes
from edge.untimed import Untimed, UntimedFile

log = structlog.get_logger()

REMEMBERED = 10_000
"""Messages; the oldest are forgotten, which is told once, and stay as they are: unsynced."""
SLICE = 100
"""Messages corrected in one turn, each of which waits for the disk twice."""


class Corrections:
    """Any thread notes, one calls `turn`."""

    def __init__(self, outbox: Outbox, file: UntimedFile) -> None:
        """Take up what an earlier run of the program has left in the file."""
        self._outbox = outbox
        self._file = file
        self._lock = threading.Lock()
        kept = list(file.read())
        self._untimed: deque[Untimed] = deque(kept, maxlen=REMEMBERED)
        self._lines = len(kept)
        """In the file, where forgotten messages stay until it is written anew."""
        self._has_told = False
        if not kept:
            self._keep()  # no file, or one from before the machine was started

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
        untimed = Untimed(key=key, topic=topic, payload=payload, times_s=dict(times_s), telemetry=telemetry)
        with self._lock:
            if len(self._untimed) == REMEMBERED and not self._has_told:
                self._has_told = True
                log.warning("times_stay_unset", remembered=REMEMBERED, action="set the clock: the oldest are forgotten")
            self._untimed.append(untimed)
            self._file.append(untimed)
            self._lines += 1
            if self._lines > 2 * REMEMBERED:  # on a device whose clock is never set
                self._keep()

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
            with self._lock:
                if not self._untimed:
                    self._keep()
        return len(due)

    def _keep(self) -> None:
        self._file.replace(self._untimed)
        self._lines = len(self._untimed)
