"""Which sample a device is recording at a moment, learnt from when its blocks arrive.

Does: keeps one line between sample indices and the monotonic clock, so that the length of a gap can be told. Does not:
know the time of day, or read any clock.
"""

from __future__ import annotations

CREEP = 1e-3
"""How fast the line may move to later times, in seconds a second: above any drift of a sound card's crystal, and slow
enough that a block which arrives late hardly moves it."""


class SampleClock:
    """Follows the blocks that arrived soonest: a block can come late, but none before it has been recorded."""

    def __init__(self, rate_hz: int) -> None:
        """rate_hz: nominal sample rate."""
        self._rate_hz = rate_hz
        self._began: float | None = None  # when sample 0 was recorded
        self._noted = 0.0

    def note(self, end: int, now_s: float) -> None:
        """A block whose last sample is `end` - 1 has arrived at `now_s` of the monotonic clock, in seconds."""
        began = now_s - end / self._rate_hz
        if self._began is not None:
            began = min(began, self._began + CREEP * (now_s - self._noted))
        self._began, self._noted = began, now_s

    def due(self, now_s: float) -> int:
        """Index of the sample that is being recorded at `now_s`; 0 before the first block."""
        return 0 if self._began is None else round((now_s - self._began) * self._rate_hz)
