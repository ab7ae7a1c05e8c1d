"""Sound between the thread that reads a source and the one that analyses it: a queue bounded in seconds.

Does: lets a source that can wait (a file, a pipe) wait for the analysis, and drops the oldest sound of one that cannot
(a microphone, a network stream). What is dropped leaves a jump in the blocks' positions, so the analysis sees a gap as
it sees any other; it is counted here. Does not: look into the sound.
"""

from __future__ import annotations

import threading
from collections import deque

from edge.sources.base import Block

CAPACITY_S = 10.0


class Backlog:
    """At most `capacity_s` seconds of blocks; one thread puts, one takes, any may ask."""

    def __init__(self, *, may_drop: bool, capacity_s: float = CAPACITY_S) -> None:
        """may_drop: when full, drop the oldest, down to half so that one gap comes and not many; else `put` waits."""
        self._may_drop = may_drop
        self._capacity_s = capacity_s
        self._waiting: deque[tuple[Block, float]] = deque()
        self._waiting_s = 0.0
        self._dropped_s = 0.0
        self._ended = False
        self._changed = threading.Condition()

    @property
    def waiting_s(self) -> float:
        """Seconds of sound that wait for the analysis: its lag."""
        with self._changed:
            return self._waiting_s

    @property
    def dropped_s(self) -> float:
        """Seconds of sound given up since the start."""
        with self._changed:
            return self._dropped_s

    def put(self, block: Block, sample_rate_hz: int) -> None:
        """Add a block; a single one is always taken, whatever its length."""
        length_s = len(block.samples) / sample_rate_hz
        with self._changed:
            if self._waiting_s + length_s > self._capacity_s and self._waiting:
                if self._may_drop:
                    self._drop(length_s)
                else:
                    self._changed.wait_for(lambda: self._waiting_s + length_s <= self._capacity_s or not self._waiting)
            self._waiting.append((block, length_s))
            self._waiting_s += length_s
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

    def take(self) -> Block | None:
        """The oldest block, as soon as there is one; None once all are taken and no more will come."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._ended)
            if not self._waiting:
                return None
            block, length_s = self._waiting.popleft()
            self._waiting_s = self._waiting_s - length_s if self._waiting else 0.0
            self._changed.notify_all()
            return block

    def _drop(self, length_s: float) -> None:
        while self._waiting and self._waiting_s + length_s > self._capacity_s / 2:
            _, dropped_s = self._waiting.popleft()
            self._waiting_s -= dropped_s
            self._dropped_s += dropped_s
