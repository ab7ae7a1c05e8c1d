"""How far apart windows are when the analysis of a live source falls behind. Pure; reads no clock and no queue.

Wider first, because sound that is heard more coarsely is still heard; dropping (`edge.backlog`) comes after that.
"""

from __future__ import annotations

BEHIND_S = 2.0
"""Lag, in seconds, that makes the hop twice as wide."""
CAUGHT_UP_S = 1.0
"""Lag, in seconds, below which the analysis has caught up."""
CALM_S = 30.0
"""Seconds for which it must have caught up before the hop becomes half as wide, so that it does not swing."""


class Pacing:
    """The hop of one source as a multiple of the configured one: 1, 2, 4 and so on up to `limit`."""

    def __init__(self, limit: int) -> None:
        """limit: the hops that a window holds; at least 1."""
        self.times = 1
        self._limit = limit
        self._calm_since_s: float | None = None

    def update(self, lag_s: float, now_s: float) -> int:
        """Once per block, before it is analysed.

        Args:
            lag_s: how long the block has waited, in seconds.
            now_s: seconds of the monotonic clock.

        Returns: the multiple to use from now on.
        """
        if lag_s > CAUGHT_UP_S or self._calm_since_s is None:
            self._calm_since_s = now_s
        if lag_s > BEHIND_S:
            self.times = min(2 * self.times, self._limit)
        elif now_s - self._calm_since_s >= CALM_S and self.times > 1:
            self.times //= 2
            self._calm_since_s = now_s
        return self.times
