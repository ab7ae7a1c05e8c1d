"""Sound between the thread that reads a source and the one that analyses it: a bounded queue.

Does: lets a source that can wait (a file, a pipe) wait for the analysis, and drops the oldest sound of one that cannot
(a microphone, a network stream), once it has waited too long: a stream whose server hands over ten seconds at once is
not behind. What is dropped leaves a jump in the blocks' positions, so the analysis sees a gap as it sees any other; it
is counted here. Does not: look into the sound, or read a clock.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from edge.sources.base import Block

LONGEST_WAIT_S = 10.0
"""What sound of a live source may wait before the oldest is dropped, until the rest has waited half as long: one gap
rather than many."""
LIVE_CAPACITY_S = 80.0
"""Most sound of a live source: what a stream may hand over at once (`edge.sources.url`), and what may wait besides."""
CAPACITY_S = 10.0
"""Most sound of a source that waits."""


@dataclass(frozen=True)
class Arrival:
    """A block, its length in seconds, and when it arrived, in seconds of the monotonic clock."""

    block: Block
    length_s: float
    at_s: float


class Backlog:
    """One thread puts, one takes, any may ask."""

    def __init__(self, *, may_drop: bool) -> None:
        """may_drop: drop the oldest rather than let `put` wait."""
        self._may_drop = may_drop
        self._waiting: deque[Arrival] = deque()
        self._waiting_s = 0.0
        self._dropped_s = 0.0
        self._ended = False
        self._changed = threading.Condition()

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that wait for the analysis."""
        with self._changed:
            return self._waiting_s

    @property
    def oldest_at_s(self) -> float | None:
        """When the oldest block that waits arrived; None while none does."""
        with self._changed:
            return self._waiting[0].at_s if self._waiting else None

    @property
    def dropped_s(self) -> float:
        """Seconds of sound given up since the start."""
        with self._changed:
            return self._dropped_s

    def put(self, block: Block, sample_rate_hz: int, at_s: float) -> None:
        """Add a block that arrived at `at_s`; a single one is always taken, whatever its length."""
        arrival = Arrival(block, len(block.samples) / sample_rate_hz, at_s)
        with self._changed:
            if self._may_drop:
                self._make_room(arrival)
            else:
                self._changed.wait_for(
                    lambda: not self._waiting or self._waiting_s + arrival.length_s <= CAPACITY_S,
                )
            self._waiting.append(arrival)
            self._waiting_s += arrival.length_s
            self._changed.notify_all()

    def end(self) -> None:
        """No block will come any more; those that wait are still handed out."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Wait for so long at most until `take` need not wait; whether it need not."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting) or self._ended, timeout_s)

    def take(self) -> Arrival | None:
        """The oldest block, as soon as there is one; None once all are taken and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
            if not self._waiting:
                return None
            arrival = self._waiting.popleft()
            self._waiting_s = self._waiting_s - arrival.length_s if self._waiting else 0.0
            self._changed.notify_all()
            return arrival

    def _make_room(self, arrival: Arrival) -> None:
        if self._waiting and arrival.at_s - self._waiting[0].at_s > LONGEST_WAIT_S:
            while self._waiting and arrival.at_s - self._waiting[0].at_s > LONGEST_WAIT_S / 2:
                self._drop()
        if self._waiting_s + arrival.length_s > LIVE_CAPACITY_S:
            while self._waiting and self._waiting_s + arrival.length_s > LIVE_CAPACITY_S / 2:
                self._drop()

    def _drop(self) -> None:
        length_s = self._waiting.popleft().length_s
        self._waiting_s -= length_s
        self._dropped_s += length_s
