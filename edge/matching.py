"""Which detected events are which marked ones, and the measures that follow from it.

An event counts as found when a detection's onset lies within a tolerance of its own; each detection answers for one
event and each event for one detection (maximum bipartite matching), so that one long detection over three coughs is
one hit and two misses, and two detections on one cough are one hit and one false alarm. Offsets are ignored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.intervals import Interval, bootstrap_interval

# Onsets are written with a few decimals: 1.30 - 1.00 must count as 0.30, which it is not in binary.
_ROUNDING_S = 1e-6

Measure = Literal["sensitivity", "ppv", "f1"]
MEASURES: tuple[Measure, ...] = ("sensitivity", "ppv", "f1")


@dataclass(frozen=True)
class EventCounts:
    """True positives, false positives and false negatives of one recording or of many; add them up with `+`."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    def __add__(self, other: EventCounts) -> EventCounts:
        """Pool two counts."""
        return EventCounts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def reference(self) -> int:
        """Events in the reference."""
        return self.tp + self.fn

    @property
    def detected(self) -> int:
        """Events detected."""
        return self.tp + self.fp

    @property
    def sensitivity(self) -> float:
        """TP / (TP + FN), the share of marked events that were found; nan where none is marked."""
        return self.measure("sensitivity")

    @property
    def ppv(self) -> float:
        """TP / (TP + FP), the share of detections that are marked; nan where nothing was detected."""
        return self.measure("ppv")

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); nan where nothing is marked and nothing was detected."""
        return self.measure("f1")

    def measure(self, measure: Measure) -> float:
        """Return one of the three by its name."""
        return float(measures(np.array([[self.tp, self.fp, self.fn]]), measure)[0])


def match_onsets(reference_s: ArrayLike, detected_s: ArrayLike, tolerance_s: float = 0.30) -> list[tuple[int, int]]:
    """Pair detections with marked events, one to one, as many as possible.

    Two onsets may pair when they differ by at most the tolerance. Because that tolerance is the same for all, two pairs
    that cross can be uncrossed without losing one, so a sweep over both in time order that pairs the earliest two that
    may pair reaches the maximum bipartite matching. Of several maximum matchings it takes the earliest: the number of
    pairs has a meaning, the choice of partner within a dense bout has none.

    Args:
        reference_s: marked onsets in seconds, in any order.
        detected_s: detected onsets in seconds, in any order.
        tolerance_s: largest difference of a pair, in seconds.

    Returns:
        Index pairs (marked, detected) in order of time.
    """
    reference, detected = np.asarray(reference_s, np.float64), np.asarray(detected_s, np.float64)
    by_reference, by_detected = np.argsort(reference, kind="stable"), np.argsort(detected, kind="stable")
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < reference.size and j < detected.size:
        r, d = int(by_reference[i]), int(by_detected[j])
        late_s = float(detected[d] - reference[r])
        if abs(late_s) <= tolerance_s + _ROUNDING_S:
            pairs.append((r, d))
            i, j = i + 1, j + 1
        elif late_s > 0:
            i += 1
        else:
            j += 1
    return pairs


def count_pairs(reference_s: Sequence[float], detected_s: Sequence[float], tolerance_s: float = 0.30) -> int:
    """How many pairs `match_onsets` finds, for onsets in seconds that are in order of time already."""
    limit_s = tolerance_s + _ROUNDING_S
    pairs = i = j = 0
    while i < len(reference_s) and j < len(detected_s):
        late_s = detected_s[j] - reference_s[i]
        if late_s > limit_s:
            i += 1
        elif late_s < -limit_s:
            j += 1
        else:
            pairs, i, j = pairs + 1, i + 1, j + 1
    return pairs


def count_events(reference_s: ArrayLike, detected_s: ArrayLike, tolerance_s: float = 0.30) -> EventCounts:
    """Count hits, false alarms and misses of one recording; arguments as for `match_onsets`."""
    reference, detected = (np.sort(np.asarray(onsets, np.float64)).tolist() for onsets in (reference_s, detected_s))
    tp = count_pairs(reference, detected, tolerance_s)
    return EventCounts(tp, np.size(detected_s) - tp, np.size(reference_s) - tp)


def bootstrap(
    counts: Sequence[EventCounts], measure: Measure, *, resamples: int = 2000, seed: int = 0
) -> Interval | None:
    """Return the 95 % interval of a measure when recordings are drawn again with replacement.

    Args:
        counts: one entry a recording, or a person where recordings of one person belong together.
        measure: which of the three.
        resamples: number of draws.
        seed: of the random generator; the same seed gives the same interval.

    Returns:
        The interval, or None for fewer than two entries or a measure that no draw defines.
    """
    table = np.array([(c.tp, c.fp, c.fn) for c in counts], np.int64).reshape(-1, 3)
    return bootstrap_interval(table, lambda sums: measures(sums, measure), resamples=resamples, seed=seed)


def bootstrap_f1(counts: Sequence[EventCounts], *, resamples: int = 2000, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of F1 over recordings; see `bootstrap`."""
    return bootstrap(counts, "f1", resamples=resamples, seed=seed)


def measures(table: NDArray[np.int64], measure: Measure) -> NDArray[np.float64]:
    """Return a measure of each row (tp, fp, fn), nan where it is undefined."""
    numerator, denominator = _parts(table[:, 0], table[:, 1], table[:, 2], measure)
    values = np.full(len(table), np.nan)
    defined = denominator > 0
    values[defined] = numerator[defined] / denominator[defined]
    return values


def _parts(
    tp: NDArray[np.int64], fp: NDArray[np.int64], fn: NDArray[np.int64], measure: Measure
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if measure == "sensitivity":
        return tp, tp + fn
    if measure == "ppv":
        return tp, tp + fp
    return 2 * tp, 2 * tp + fp + fn
