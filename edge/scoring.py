"""Scores detected events against marked ones, the way cough monitors are scored.

An event counts as found when a detection's onset lies within a tolerance of its own; each detection answers for one
event and each event for one detection (maximum bipartite matching), so that one long detection over three coughs is
one hit and two misses, and two detections on one cough are one hit and one false alarm. Offsets are ignored.

The two files that `score_files` takes are described in `edge.marks`. This module hears nothing and draws nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import UserError
from edge.intervals import Interval, bootstrap_interval, poisson_interval, poisson_upper_of_none, wilson_interval
from edge.marks import Recording, read_recordings

# Onsets are written with a few decimals: 1.30 - 1.00 must count as 0.30, which it is not in binary.
_ROUNDING_S = 1e-6

Measure = Literal["sensitivity", "ppv", "f1"]
_MEASURES: tuple[Measure, ...] = ("sensitivity", "ppv", "f1")


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
        return float(_measures(np.array([[self.tp, self.fp, self.fn]]), measure)[0])


@dataclass(frozen=True)
class CountError:
    """Detected minus marked events an hour, over `bins` equal stretches of about one hour each."""

    mae_per_hour: float
    bias_per_hour: float
    bins: int
    bin_hours: float


@dataclass(frozen=True)
class Report:
    """The result of `score`: figures, and a table of them for people. Intervals are of 95 %."""

    label: str
    tolerance_s: float
    counts: EventCounts
    intervals: Mapping[Measure, Interval]
    """Of the measures that are defined."""
    recordings: int
    recordings_with_events: int
    fp_with_events: int
    """False positives in recordings that hold at least one marked event."""
    fp_without_events: int
    hours: float | None
    """Analysed time; None when it is not known, and so are the figures per hour."""
    count_error: CountError | None

    @property
    def fp_per_hour(self) -> float | None:
        """False positives an hour of analysed time."""
        return None if self.hours is None else self.counts.fp / self.hours

    @property
    def fp_per_hour_interval(self) -> Interval | None:
        """Exact Poisson interval of the false positives an hour."""
        if self.hours is None:
            return None
        interval = poisson_interval(self.counts.fp)
        return Interval(interval.low / self.hours, interval.high / self.hours)

    @property
    def fp_per_hour_upper(self) -> float | None:
        """One-sided 95 % upper bound, 3.0 / hours, when there was no false positive at all; None otherwise."""
        return None if self.hours is None or self.counts.fp else poisson_upper_of_none() / self.hours

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain values ready for JSON; an undefined one is None."""
        values = asdict(self)
        for measure in _MEASURES:
            value = self.counts.measure(measure)
            values[measure] = None if math.isnan(value) else value
        values["fp_per_hour"] = self.fp_per_hour
        values["fp_per_hour_interval"] = asdict(rate) if (rate := self.fp_per_hour_interval) else None
        values["fp_per_hour_upper"] = self.fp_per_hour_upper
        return values

    def text(self) -> str:
        """Return a table for people, about ten lines."""
        counts = self.counts
        elsewhere = f"{self.fp_with_events} in recordings with events, {self.fp_without_events} in the others"
        rows = [
            ("recordings", f"{self.recordings}, of which {self.recordings_with_events} with events"),
            ("events", f"{counts.reference} marked, {counts.detected} detected"),
            ("true positives", f"{counts.tp}"),
            ("false positives", f"{counts.fp} ({elsewhere})"),
            ("false negatives", f"{counts.fn}"),
            *((title, self._measure_text(m)) for title, m in zip(("sensitivity", "PPV", "F1"), _MEASURES, strict=True)),
            *self._hourly_rows(),
        ]
        method = "bootstrap over recordings, Wilson at 0 and 1" if self.recordings > 1 else "Wilson, one recording"
        head = f"{self.label}: onsets matched one to one within {self.tolerance_s:.2f} s (95 % intervals: {method})"
        width = max(len(title) for title, _ in rows)
        return "\n".join([head, *(f"  {title:<{width}}  {value}" for title, value in rows)])

    def _measure_text(self, measure: Measure) -> str:
        value = self.counts.measure(measure)
        if math.isnan(value):
            return "undefined, nothing marked" if measure == "sensitivity" else "undefined, nothing detected"
        interval = self.intervals.get(measure)
        return f"{value:.3f}" + (f" ({interval.low:.3f} to {interval.high:.3f})" if interval else "")

    def _hourly_rows(self) -> list[tuple[str, str]]:
        rate, interval = self.fp_per_hour, self.fp_per_hour_interval
        if rate is None or interval is None:
            return [("per hour", "unknown: give the column recording_s for every recording, or the hours")]
        text = f"{rate:.2f} ({interval.low:.2f} to {interval.high:.2f}, exact Poisson)"
        if (upper := self.fp_per_hour_upper) is not None:
            text += f", one-sided below {upper:.2f}"
        rows = [("hours", f"{self.hours:.3f}"), ("false positives / h", text)]
        if (error := self.count_error) is not None:
            text = f"MAE {error.mae_per_hour:.2f}, bias {error.bias_per_hour:+.2f}"
            rows.append(("count error / h", f"{text}, over {error.bins} x {error.bin_hours:.2f} h"))
        return rows


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


def count_events(reference_s: ArrayLike, detected_s: ArrayLike, tolerance_s: float = 0.30) -> EventCounts:
    """Count hits, false alarms and misses of one recording; arguments as for `match_onsets`."""
    tp = len(match_onsets(reference_s, detected_s, tolerance_s))
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
    return bootstrap_interval(table, lambda sums: _measures(sums, measure), resamples=resamples, seed=seed)


def bootstrap_f1(counts: Sequence[EventCounts], *, resamples: int = 2000, seed: int = 0) -> Interval | None:
    """Return the 95 % interval of F1 over recordings; see `bootstrap`."""
    return bootstrap(counts, "f1", resamples=resamples, seed=seed)


def count_error(recordings: Sequence[Recording]) -> CountError | None:
    """Compare detected with marked events an hour; None when the length of a recording is not known.

    The recordings are laid end to end in the order given and cut into equal bins as close to one hour as fits, so that
    neither a short clip nor an odd last minute is blown up to an hour of its own.
    """
    lengths_s = [r.recording_s for r in recordings if r.recording_s is not None]
    total_s = sum(lengths_s)
    if len(lengths_s) < len(recordings) or total_s <= 0.0:
        return None
    starts_s = np.cumsum([0.0, *lengths_s[:-1]])
    bins = max(1, round(total_s / 3600.0))

    def binned(onsets_s: Iterable[tuple[float, ...]]) -> NDArray[np.int64]:
        times_s = [start + t for start, times in zip(starts_s, onsets_s, strict=True) for t in times]
        index = (np.array(times_s) * (bins / total_s)).astype(np.int64)
        return np.bincount(np.minimum(index, bins - 1), minlength=bins)

    bin_hours = total_s / 3600.0 / bins
    errors = (binned(r.detected_s for r in recordings) - binned(r.reference_s for r in recordings)) / bin_hours
    return CountError(float(np.abs(errors).mean()), float(errors.mean()), bins, bin_hours)


def score(
    recordings: Sequence[Recording], *, tolerance_s: float = 0.30, label: str = "cough", hours: float | None = None
) -> Report:
    """Score recordings whose onsets are at hand.

    Args:
        recordings: at least one; those without events too, or false alarms are undercounted.
        tolerance_s: largest difference of matched onsets, in seconds.
        label: what is counted, for the report.
        hours: analysed time; None takes the sum of the recordings' lengths, if all are known.

    Raises:
        UserError: a tolerance or hours that are not a number above 0.
    """
    for name, value in (("tolerance", tolerance_s), ("hours", hours)):
        if value is not None and not (math.isfinite(value) and value > 0.0):
            raise UserError(f"{name} {value:g}: give a number above 0")
    counts = [count_events(r.reference_s, r.detected_s, tolerance_s) for r in recordings]
    total = sum(counts, EventCounts())
    intervals = {measure: _interval(counts, total, measure) for measure in _MEASURES}
    lengths_s = [r.recording_s for r in recordings if r.recording_s is not None]
    if hours is None and len(lengths_s) == len(recordings) and sum(lengths_s) > 0.0:
        hours = sum(lengths_s) / 3600.0
    return Report(
        label=label,
        tolerance_s=tolerance_s,
        counts=total,
        intervals={measure: interval for measure, interval in intervals.items() if interval is not None},
        recordings=len(counts),
        recordings_with_events=sum(c.reference > 0 for c in counts),
        fp_with_events=sum(c.fp for c in counts if c.reference),
        fp_without_events=sum(c.fp for c in counts if not c.reference),
        hours=hours,
        count_error=count_error(recordings),
    )


def score_files(
    reference: Path, events: Path, *, tolerance_s: float = 0.30, label: str = "cough", hours: float | None = None
) -> Report:
    """Score a file of detections against a file of marks; `edge.marks` describes both.

    Raises:
        UserError: a file that cannot be read or that holds what it should not, with its line; or as `score`.
    """
    return score(read_recordings(reference, events, label), tolerance_s=tolerance_s, label=label, hours=hours)


def _measures(table: NDArray[np.int64], measure: Measure) -> NDArray[np.float64]:
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


def _interval(counts: Sequence[EventCounts], total: EventCounts, measure: Measure) -> Interval | None:
    """Return the bootstrap interval, or Wilson's of the pooled counts where drawing again changes nothing."""
    if len(counts) != 1 and total.measure(measure) not in (0.0, 1.0):
        return bootstrap(counts, measure)
    trials = {"sensitivity": total.reference, "ppv": total.detected, "f1": total.tp + total.fp + total.fn}[measure]
    if trials == 0:
        return None
    interval = wilson_interval(total.tp, trials)
    if measure != "f1":
        return interval
    # F1 is no proportion, but J = TP / (TP + FP + FN) is one, and F1 = 2 J / (1 + J) grows with it.
    return Interval(2 * interval.low / (1 + interval.low), 2 * interval.high / (1 + interval.high))
