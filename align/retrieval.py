"""Which reports are nearest to a recording, and how near its own is among them. Pure: it takes vectors, not files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recall:
    """How often a recording finds its report."""

    at: dict[int, float]
    """Share of recordings whose report is among the nearest 1, 5, 10."""
    median_rank: float
    """1 is the nearest."""
    chance: dict[int, float]
    """The same shares for an order by lot."""
    reports: int
    """Different reports to choose from."""


CUTS = (1, 5, 10)


def similarities(audio: NDArray[np.float32], text: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosines (recordings, reports) of (recordings, size) and (reports, size)."""
    return _unit(audio) @ _unit(text).T


def ranks(similarity: NDArray[np.float32], own: Sequence[int]) -> NDArray[np.float64]:
    """Rank of each recording's own report, 1 for the nearest; reports that tie share their mean rank.

    Args:
        similarity: (recordings, reports), reports all different.
        own: (recordings,) the column of each recording's report.

    Raises:
        ValueError: a similarity is not finite, which would compare as if it were the nearest.
    """
    if not np.isfinite(similarity).all():
        raise ValueError("a similarity is not finite")
    score = similarity[np.arange(len(similarity)), list(own)][:, None]
    above = (similarity > score).sum(axis=1)
    tied = (similarity == score).sum(axis=1)
    return np.asarray(above + (tied + 1) / 2.0, dtype=np.float64)


def recall(similarity: NDArray[np.float32], own: Sequence[int]) -> Recall:
    """Recall at 1, 5 and 10, median rank, and what chance gives.

    Args:
        similarity: (recordings, reports), reports all different.
        own: (recordings,) the column of each recording's report.

    Raises:
        ValueError: as `ranks`.
    """
    place = ranks(similarity, own)
    reports = similarity.shape[1]
    return Recall(
        {cut: float((place <= cut).mean()) for cut in CUTS},
        float(np.median(place)),
        {cut: min(1.0, cut / reports) for cut in CUTS},
        reports,
    )


def distinct(texts: Sequence[str]) -> tuple[list[int], list[int]]:
    """The first place of every different text, and for each text the place of its own among those."""
    columns: dict[str, int] = {}
    first: list[int] = []
    for place, text in enumerate(texts):
        if text not in columns:
            columns[text] = len(first)
            first.append(place)
    return first, [columns[text] for text in texts]


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)
