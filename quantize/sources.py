"""How well a label is told in each source of recordings: a figure over all of them can hide one that is not heard.

A detector may know a corpus by its microphone and not by its sounds. So each label is asked for three times in each
source: among its own recordings, where the channel gives nothing away; its recordings with the label against all those
without, from anywhere; and all those with the label against its recordings without. It runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.statistics import Interval, auroc, auroc_interval

FEWEST_GROUPS = 5
"""Resampling fewer people than this says nothing: then there is a figure without an interval."""

Area = Interval | float | None
"""AUROC with its interval, without one, or none where one of the two kinds is missing."""


@dataclass(frozen=True)
class SourceAccuracy:
    """How well a label is told in one source."""

    label: str
    source: str
    positives: int
    """Its recordings that hold the label."""
    negatives: int
    """Its recordings that are known not to."""
    within: Area
    """Its own recordings with the label against its own without."""
    with_label: Area
    """Its own with the label against those of all sources without."""
    without_label: Area
    """Those of all sources with the label against its own without."""


@dataclass(frozen=True)
class Asked:
    """Recordings and what is known of them; sequences of one length."""

    sources: Sequence[str]
    groups: Sequence[str]
    holds: Sequence[Sequence[bool | None]]
    """Whether each recording holds each label; None where that is not known."""


def by_source(
    labels: Sequence[str], asked: Asked, scores: NDArray[np.float64], *, rounds: int, only: str = ""
) -> tuple[SourceAccuracy, ...]:
    """AUROC of each label in each source that has recordings of which the answer is known.

    Args:
        labels: in the order of the columns.
        asked: the recordings.
        scores: (recordings, labels) clip scores.
        rounds: resamples of each interval.
        only: the source to measure; empty: each.
    """
    found = []
    for column, label in enumerate(labels):
        known = [row for row, holds in enumerate(asked.holds) if holds[column] is not None]
        truth = np.array([bool(asked.holds[row][column]) for row in known], dtype=bool)
        groups = np.array([asked.groups[row] for row in known])
        sources = np.array([asked.sources[row] for row in known])
        for source in sorted({only} & set(sources.tolist()) if only else set(sources.tolist())):
            own = sources == source
            areas = [
                area_of(truth[chosen], scores[known, column][chosen], groups[chosen].tolist(), rounds)
                for chosen in (own, own & truth | ~truth, truth | own & ~truth)
            ]
            counts = int((own & truth).sum()), int((own & ~truth).sum())
            found.append(SourceAccuracy(label, source, *counts, *areas))
    return tuple(found)


def area_of(truth: NDArray[np.bool_], scores: NDArray[np.float64], groups: Sequence[str], rounds: int) -> Area:
    """AUROC of scores (n,) for truth (n,), with an interval over groups where enough of them are on both sides."""
    sides = [{group for group, holds in zip(groups, truth, strict=True) if holds == side} for side in (True, False)]
    if not all(sides):
        return None
    if min(map(len, sides)) < FEWEST_GROUPS:
        return auroc(truth, scores)
    return auroc_interval(truth, scores, groups, rounds=rounds)


def shown(area: Area) -> str:
    """The figure in three digits, with its interval if there is one; empty where there is none."""
    return "" if area is None else f"{area:.3f}" if isinstance(area, float) else str(area)


HEAD = ("label", "source", "with", "without", "within the source", "its with / all without", "all with / its without")
"""Titles of the columns of `cells`."""


def cells(found: Sequence[SourceAccuracy]) -> list[tuple[str, ...]]:
    """A row of a table for each."""
    return [
        (
            one.label,
            one.source,
            f"{one.positives}",
            f"{one.negatives}",
            *map(shown, (one.within, one.with_label, one.without_label)),
        )
        for one in found
    ]
