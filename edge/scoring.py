"""Scores detected events against marked ones, the way cough monitors are scored.

`edge.matching` says which detection is which marked event; here are added intervals, rates an hour and a table for
people. The two files that `score_files` takes are described in `edge.marks`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import UserError
from edge.intervals import Interval, poisson_interval, poisson_upper_of_none, wilson_interval
from edge.marks import Recording, read_recordings
from edge.matching import MEASURES, EventCounts, Measure, bootstrap, count_events


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
        for measure in MEASURES:
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
            *((title, self._measure_text(m)) for title, m in zip(("sensitivity", "PPV", "F1"), MEASURES, strict=True)),
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
    intervals = {measure: _interval(counts, total, measure) for measure in MEASURES}
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
