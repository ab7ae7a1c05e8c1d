"""When a score becomes an event: thresholds and times of each label, chosen on validation recordings only.

A label with hand-marked times is tuned for event F1 with the device's own segmentation; any other label for balanced
accuracy of clips, with durations that fit the sound. It takes score tracks and runs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from edge.bundle import OperatingPoint
from edge.matching import EventCounts
from quantize.errors import ExportError
from quantize.pieces import PooledTracks

ON = (*(round(0.1 + 0.05 * step, 2) for step in range(17)), 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
"""Finer at the top, where a well-trained net's scores of clear sounds lie."""

GRID: Mapping[str, tuple[float, ...]] = {
    "on": ON,
    "off_share": (0.3, 0.5, 0.7, 0.9),
    "split_depth": (0.0, 0.08, 0.15, 0.3, 0.5, 0.7),
    "minimum_duration_s": (0.04, 0.08, 0.12, 0.16),
    "merge_gap_s": (0.0, 0.04, 0.08, 0.16),
    "refractory_s": (0.0, 0.16, 0.24, 0.32),
}
SEARCHED = (("on", "off_share", "split_depth"), ("minimum_duration_s", "merge_gap_s", "refractory_s"))
"""Thresholds together, then times together."""
START = {"off_share": 0.5, "minimum_duration_s": 0.08, "merge_gap_s": 0.04, "refractory_s": 0.16}
EQUAL_F1 = 0.002
SWEEPS = 2
"""The second sweep moves little."""

FALSE_POSITIVES_PER_HOUR = 4.0
"""What an operator of a cough counter can live with in a noisy home."""

LEAST_SENSITIVITY = 0.5
"""Silence has no false positives either: a point that finds fewer of the events is not preferred for being quiet."""

SLOW_SOUND = {"split_depth": 0.0, "off_share": 0.5, "minimum_duration_s": 0.2, "merge_gap_s": 0.24, "refractory_s": 0.5}
"""For labels without marked times. A breath lasts a second or more; most words of a sentence follow within 0.24 s, and
to wait longer for the next would tell the end of every sound later."""


@dataclass(frozen=True)
class EventTrack:
    """One recording or scene: scores (frames,) of a label, onsets of its events, length in seconds."""

    scores: NDArray[np.float32]
    onsets_s: tuple[float, ...]
    duration_s: float


@dataclass(frozen=True)
class Choice:
    """A label's operating point, what it was chosen by, and the curve over `on` with all else as chosen."""

    label: str
    point: OperatingPoint
    criterion: str
    basis: str
    """What it was chosen on, in numbers."""
    value: float
    columns: tuple[str, ...]
    curve: tuple[tuple[float, ...], ...]
    """Rows of `columns`; the first column is `on`."""


def choose_for_events(
    label: str,
    recordings: Sequence[EventTrack],
    scenes: Sequence[EventTrack],
    frame_s: float,
    *,
    kept: OperatingPoint | None = None,
) -> Choice:
    """Choose by event F1 over marked recordings and scenes, pooled, among those quiet enough in the scenes.

    At most `FALSE_POSITIVES_PER_HOUR` in the scenes, where a point that finds `LEAST_SENSITIVITY` of the events reaches
    that; else simply the best F1. A point that is `kept` is not chosen, only measured.
    """

    pooled = [
        PooledTracks([track.scores for track in tracks], [track.onsets_s for track in tracks], frame_s, ON[0])
        for tracks in (scenes, recordings)
    ]

    def rate(fields: Mapping[str, float]) -> tuple[bool, float, EventCounts, float]:
        point = _point(fields)
        in_scenes, in_recordings = (tracks.count(point) for tracks in pooled)
        total = in_scenes + in_recordings
        per_hour = in_scenes.fp / max(hours, 1e-9)
        quiet = per_hour <= FALSE_POSITIVES_PER_HOUR and total.sensitivity >= LEAST_SENSITIVITY
        return quiet, float(np.nan_to_num(total.f1)), total, per_hour

    hours = sum(track.duration_s for track in scenes) / 3600.0
    best: dict[str, float] = dict(START) if kept is None else _fields(kept)
    for _ in range(SWEEPS if kept is None else 0):
        for names in SEARCHED:
            grids = [GRID[name] for name in names]
            tried = [best | dict(zip(names, values, strict=True)) for values in product(*grids)]
            best = max(tried, key=lambda fields: rate(fields)[:2])
    # Of thresholds that do equally well the middle one, so that none is taken that stands on a ridge.
    quiet, f1, *_ = rate(best)
    equal = [on for on in ON if rate(best | {"on": on})[:2] >= (quiet, f1 - EQUAL_F1)]
    best["on"] = equal[len(equal) // 2] if kept is None else kept.on
    rows = []
    for on in ON:
        _, f1, total, per_hour = rate(best | {"on": on})
        rows.append((on, total.sensitivity, total.ppv, f1, per_hour))
    columns = ("on", "sensitivity", "PPV", "F1", "false positives / h of scenes")
    marked = [len(track.onsets_s) for track in recordings if track.onsets_s]
    basis = f"{len(marked)} recordings with {sum(marked)} marked events, {len(recordings) - len(marked)} without"
    if scenes:
        basis += f", and {hours:.1f} h of scenes made of the same recordings and other sounds"
    return Choice(label, _point(best), "event F1", basis, rate(best)[1], columns, tuple(rows))


def choose_for_clips(
    label: str, peaks: NDArray[np.float32], truth: NDArray[np.bool_], *, kept: OperatingPoint | None = None
) -> Choice:
    """Choose `on` by balanced accuracy of clips, the middle of the best thresholds; times are those of a slow sound.

    Args:
        label: for the record.
        peaks: (clips,) highest score of each clip.
        truth: (clips,) whether it holds the label.
        kept: a point that is not chosen, only measured.

    Raises:
        ExportError: the clips all hold the label, or none does.
    """
    need_both(label, truth)
    sensitivity = np.array([(peaks[truth] >= on).mean() for on in ON])
    specificity = np.array([(peaks[~truth] < on).mean() for on in ON])
    balanced = (sensitivity + specificity) / 2.0
    best = np.flatnonzero(balanced >= balanced.max() - 1e-9)
    place = int(best[len(best) // 2]) if kept is None else int(np.argmin(np.abs(np.array(ON) - kept.on)))
    rows = zip(ON, sensitivity.tolist(), specificity.tolist(), balanced.tolist(), strict=True)
    point = _point({"on": ON[place], **SLOW_SOUND}) if kept is None else kept
    columns = ("on", "sensitivity", "specificity", "balanced accuracy")
    basis = f"{truth.sum()} clips with it, {(~truth).sum()} without"
    return Choice(label, point, "balanced accuracy of clips", basis, float(balanced[place]), columns, tuple(rows))


def need_both(label: str, truth: NDArray[np.bool_]) -> None:
    """Refuse to choose a threshold on recordings that all hold the label, or of which none does.

    Raises:
        ExportError: that is so.
    """
    if truth.all() or not truth.any():
        raise ExportError(f"no validation recordings with and without {label} of which the answer is known")


def _point(fields: Mapping[str, float]) -> OperatingPoint:
    """`fields`: every field of the point but `off`, and `off_share`, the ratio of `off` to `on`."""
    others = {name: value for name, value in fields.items() if name != "off_share"}
    return OperatingPoint(off=round(fields["on"] * fields["off_share"], 3), **others)


def _fields(point: OperatingPoint) -> dict[str, float]:
    """What `_point` makes the point of."""
    fields = {name: value for name, value in point.model_dump().items() if name != "off"}
    return {**fields, "off_share": point.off / point.on}
