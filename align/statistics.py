"""Figures with intervals: AUROC and bootstrap over groups (persons), plain and paired."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve, ties counted half.

    Args:
        labels: (n,) true for positives.
        scores: (n,) higher means more positive.

    Raises:
        ValueError: one of the two classes is absent, or a score is not finite.
    """
    truth = np.asarray(labels, dtype=bool)
    value = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(value).all():
        raise ValueError("a score is not finite")
    if truth.all() or not truth.any():
        raise ValueError("AUROC needs positives and negatives")
    # The share of pairs that are in order (Mann and Whitney); a bootstrap asks thousands of times.
    negatives, positives = np.sort(value[~truth]), value[truth]
    below = np.searchsorted(negatives, positives, side="left").sum()
    ties = np.searchsorted(negatives, positives, side="right").sum() - below
    return float((below + ties / 2) / (len(positives) * len(negatives)))


def clip_scores(track: NDArray[np.float32], frames_per_s: float) -> NDArray[np.float64]:
    """One score a label for a whole clip: the mean over its highest-scored second, (labels,).

    The single highest frame would let one stray frame speak for a clip; a mean over the clip would ask how much of it
    is filled.

    Args:
        track: (frames, labels) scores over time, at least one frame.
        frames_per_s: frames a second.
    """
    count = min(len(track), max(1, round(frames_per_s)))
    highest = np.partition(track, len(track) - count, axis=0)[len(track) - count :]
    return np.asarray(highest.mean(axis=0, dtype=np.float64))


def bootstrap(
    statistic: Callable[[NDArray[np.int64]], float],
    groups: Sequence[str],
    *,
    rounds: int = 2000,
    seed: int = 0,
) -> Interval:
    """95 % percentile interval of a statistic, resampling whole groups with replacement.

    Args:
        statistic: value for an array of row indices; may raise ValueError for a resample in which it is undefined,
            which is then drawn again.
        groups: (n,) the group of each row.

    Raises:
        ValueError: the statistic is undefined on the data itself, or on nearly every resample.
    """
    names, inverse = np.unique(np.asarray(groups), return_inverse=True)
    members = [np.flatnonzero(inverse == index) for index in range(len(names))]
    value = statistic(np.arange(len(inverse)))
    rng = np.random.default_rng(seed)
    draws: list[float] = []
    for _ in range(rounds * 10):
        rows = np.concatenate([members[index] for index in rng.integers(len(names), size=len(names))])
        try:
            draws.append(statistic(rows))
        except ValueError:
            continue
        if len(draws) == rounds:
            break
    else:
        raise ValueError("the statistic is undefined on most resamples; there are too few groups")
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def auroc_interval(labels: ArrayLike, scores: ArrayLike, groups: Sequence[str], *, rounds: int = 2000) -> Interval:
    """AUROC with its bootstrap interval over groups."""
    truth, value = np.asarray(labels, dtype=bool), np.asarray(scores, dtype=np.float64)
    return bootstrap(lambda rows: auroc(truth[rows], value[rows]), groups, rounds=rounds)


def auroc_difference(
    labels: ArrayLike, first: ArrayLike, second: ArrayLike, groups: Sequence[str], *, rounds: int = 2000
) -> Interval:
    """AUROC of `first` less AUROC of `second` on the same rows, with a paired bootstrap over groups."""
    truth = np.asarray(labels, dtype=bool)
    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    return bootstrap(lambda rows: auroc(truth[rows], one[rows]) - auroc(truth[rows], two[rows]), groups, rounds=rounds)
