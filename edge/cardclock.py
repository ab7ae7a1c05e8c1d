"""When a sample was recorded, by the system's monotonic clock, although the sound card has a clock of its own. Pure.

Does: follows a source's sample count against the times at which its blocks arrive. A block may come late, by as much as
a busy machine holds it up, but none comes before it has been recorded; so what counts is the earliest in a minute. The
card's drift is the slope through those (Theil 1950, Sen 1968: the median over all pairs), which a few bad minutes do
not move. Does not: know the time of day (`edge.clock`), or bridge a gap (its source does, by the same monotonic clock).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from edge.quantile import quantile

BUCKET_S = 60.0
BUCKETS_KEPT = 120
"""Two hours: a card's crystal follows the temperature of the room."""
BUCKETS_NEEDED = 10
"""Before so many minutes have passed, lateness of a few milliseconds would look like drift."""
RECENT_BUCKETS = 3
CREEP = 1e-3
"""How fast recorded time may be corrected, in seconds a second: above any crystal's drift, and so slow that late blocks
do not move the events of a minute against each other."""


@dataclass(frozen=True)
class _Line:
    """Sample time `at_sample_s` was recorded at `at_s`; a second of samples takes 1 + slope seconds."""

    at_sample_s: float
    at_s: float
    slope: float

    def recorded_s(self, sample_s: float) -> float:
        return self.at_s + (sample_s - self.at_sample_s) * (1.0 + self.slope)


class CardClock:
    """One thread notes blocks, any may ask. Sample times are seconds: sample index over nominal rate."""

    def __init__(self, began_s: float, *, is_live: bool) -> None:
        """Until a block is noted, sample 0 counts as recorded at `began_s` of the monotonic clock.

        is_live: nothing comes before it has been recorded, so a block that comes earlier than expected sets the clock
        right at once, as when a stream begins with what its server had kept. Otherwise (a pipe, which may be filled at
        once) it moves the clock no faster than a late one.
        """
        self._fastest_back = -math.inf if is_live else -CREEP
        self._line = _Line(0.0, began_s, 0.0)
        self._noted = False
        self._fitted = False
        self._buckets: deque[tuple[float, float]] = deque(maxlen=BUCKETS_KEPT)
        """Of each minute, the sample time and the lateness (arrival less sample time) of its earliest block."""
        self._bucket_end_s = 0.0

    @property
    def drift_ppm(self) -> float | None:
        """How much faster than nominal the card records, in millionths; None before it is known."""
        return (1.0 / (1.0 + self._line.slope) - 1.0) * 1e6 if self._fitted else None

    def recorded_s(self, sample_s: float) -> float:
        """When the sample at `sample_s` was recorded, in seconds of the monotonic clock."""
        return self._line.recorded_s(sample_s)

    def note(self, end_s: float, arrived_s: float, *, after_gap: bool = False) -> None:
        """A block whose samples end at sample time `end_s` arrived at `arrived_s` of the monotonic clock.

        after_gap: the line begins anew here; the drift that is known stays.
        """
        if after_gap or not self._noted:
            self._noted = True
            self._line = _Line(end_s, arrived_s, self._line.slope)
            self._buckets.clear()
            self._bucket_end_s = 0.0
        if end_s >= self._bucket_end_s or not self._buckets:
            slope = self._fit()
            self._buckets.append((end_s, arrived_s - end_s))
            self._bucket_end_s = end_s + BUCKET_S
        else:
            slope = self._line.slope
            self._buckets[-1] = min(self._buckets[-1], (end_s, arrived_s - end_s), key=lambda bucket: bucket[1])
        elapsed_s = end_s - self._line.at_sample_s
        recent = list(self._buckets)[-RECENT_BUCKETS:]
        error_s = min(sample_s + late_s - self._line.recorded_s(sample_s) for sample_s, late_s in recent)
        correction_s = max(self._fastest_back * elapsed_s, min(CREEP * elapsed_s, error_s)) if elapsed_s > 0 else 0.0
        self._line = _Line(end_s, self._line.recorded_s(end_s) + correction_s, slope)

    def _fit(self) -> float:
        """The slope through the full buckets, or the one that is known."""
        if len(self._buckets) < BUCKETS_NEEDED:
            return self._line.slope
        sample_s, late_s = np.array(self._buckets).T
        first, second = np.triu_indices(len(sample_s), k=1)
        slope = quantile((late_s[second] - late_s[first]) / (sample_s[second] - sample_s[first]), 0.5)
        if abs(slope) > CREEP:  # no card: a recording that is piped as fast as it can be read
            return self._line.slope
        self._fitted = True
        return slope
