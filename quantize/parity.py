"""What quantising costs: clip scores and outputs of INT8 against float32, on the device's pipeline.

A clip's score for a label is that of `align.statistics.clip_scores` over the fused track of the device. AUROC is over
the clips of which it is known whether they hold the label; intervals resample groups (persons), paired where two are
compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from align.statistics import Interval, auroc_difference, auroc_interval, clip_scores
from distill.data import FRAME_RATE_HZ
from edge.analysis import Analyzer
from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.track import TrackChunk
from quantize.recordings import LabelledClip
from quantize.sources import Asked, SourceAccuracy, by_source

Track = NDArray[np.float32]
"""(frames, labels), one frame each front-end hop."""


@dataclass(frozen=True)
class LabelAccuracy:
    """How well one label's clips are told from the others."""

    label: str
    positives: int
    negatives: int
    auroc: Interval
    drop: Interval
    """AUROC of float32 less this one's, paired."""


@dataclass(frozen=True)
class OutputError:
    """How far INT8 outputs are from float32 ones over a set of windows of test recordings."""

    windows: int
    max_score: float
    """Largest absolute difference of a score."""
    max_embedding: float
    cosine_mean: float
    """Of the embeddings, as are the next three."""
    cosine_min: float
    sqnr_db: float
    """Signal to quantisation noise."""
    cka: float
    """Linear CKA: how alike the two geometries are."""

    def __str__(self) -> str:
        """In a few words."""
        return f"embedding {self.sqnr_db:.1f} dB, cosine {self.cosine_mean:.4f}, CKA {self.cka:.4f}"


def score_track(bundle: Bundle, backend: Backend, samples: NDArray[np.float32]) -> Track:
    """Run a whole recording at the bundle's rate through the device's pipeline and return its fused scores."""
    chunks: list[TrackChunk] = []
    analyzer = Analyzer(bundle, backend, input_rate_hz=bundle.manifest.front_end.sample_rate_hz, channels=1)
    analyzer.on_scores = chunks.append
    analyzer.push(samples[:, np.newaxis])
    analyzer.flush()
    return np.concatenate([chunk.scores for chunk in chunks])


def score_tracks(bundle: Bundle, backend: Backend, clips: Sequence[LabelledClip], title: str) -> list[Track]:
    """Tracks of many recordings, with a progress bar."""
    return [score_track(bundle, backend, clip.samples) for clip in tqdm(clips, desc=title, unit="clip", leave=False)]


def accuracy(
    labels: Sequence[str],
    clips: Sequence[LabelledClip],
    tracks: Sequence[Track],
    reference: Sequence[Track],
    *,
    rounds: int,
) -> list[LabelAccuracy]:
    """AUROC of each label over clips, and the drop from the tracks of float32 (`reference`).

    Args:
        labels: in the order of the tracks' columns.
        clips: with both answers for every label among them.
        tracks: of the candidate, in the order of the clips.
        reference: of float32.
        rounds: resamples of each interval.
    """
    scores = np.stack([clip_scores(track, FRAME_RATE_HZ) for track in tracks])
    scores_before = np.stack([clip_scores(track, FRAME_RATE_HZ) for track in reference])
    found = []
    for column, label in enumerate(labels):
        rows = [row for row, clip in enumerate(clips) if clip.holds[column] is not None]
        truth = np.array([bool(clips[row].holds[column]) for row in rows])
        groups = [clips[row].recording.group for row in rows]
        after, before = scores[rows, column], scores_before[rows, column]
        found.append(
            LabelAccuracy(
                label,
                int(truth.sum()),
                int((~truth).sum()),
                *_intervals(truth, after, before, groups, rounds),
            )
        )
    return found


def of_clips(
    labels: Sequence[str], clips: Sequence[LabelledClip], tracks: Sequence[Track], *, rounds: int
) -> tuple[SourceAccuracy, ...]:
    """AUROC of each label in each corpus; arguments as for `accuracy`."""
    sources, groups = ([getattr(clip.recording, name) for clip in clips] for name in ("corpus", "group"))
    scores = np.stack([clip_scores(track, FRAME_RATE_HZ) for track in tracks])
    return by_source(labels, Asked(sources, groups, [clip.holds for clip in clips]), scores, rounds=rounds)


def _intervals(
    truth: NDArray[np.bool_],
    after: NDArray[np.float64],
    before: NDArray[np.float64],
    groups: Sequence[str],
    rounds: int,
) -> tuple[Interval, Interval]:
    """AUROC with its interval, and the paired drop with its own."""
    value = auroc_interval(truth, after, groups, rounds=rounds)
    if np.array_equal(after, before):
        return value, Interval(0.0, 0.0, 0.0)
    return value, auroc_difference(truth, before, after, groups, rounds=rounds)


def cosines(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each row (n, D) with its counterpart: (n,)."""
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)
    return np.asarray((expected * actual).sum(axis=1) / np.maximum(norms, 1e-12))


def sqnr_db(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Signal to quantisation noise: energy of what is expected over that of the difference, in decibels."""
    noise = float(np.square(expected - actual).sum())
    return float(10.0 * np.log10(np.square(expected).sum() / max(noise, 1e-20)))


def linear_cka(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> float:
    """Linear CKA of two sets of embeddings (n, D) of the same windows: 1 where one is a rotation of the other.

    S. Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019, equation 3.
    """
    x, y = expected - expected.mean(axis=0), actual - actual.mean(axis=0)
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    return float(np.square(np.linalg.norm(y.T @ x)) / max(float(own), 1e-20))


def output_error(reference: Backend, candidate: Backend, windows: NDArray[np.float32]) -> OutputError:
    """Compare two backends on windows (n, window_samples)."""
    pairs = [(reference.infer(window), candidate.infer(window)) for window in windows]
    expected = np.stack([before.embedding for before, _ in pairs]).astype(np.float64)
    actual = np.stack([after.embedding for _, after in pairs]).astype(np.float64)
    cosine = cosines(expected, actual)
    return OutputError(
        windows=len(windows),
        max_score=float(max(np.abs(before.scores - after.scores).max() for before, after in pairs)),
        max_embedding=float(np.abs(expected - actual).max()),
        cosine_mean=float(cosine.mean()),
        cosine_min=float(cosine.min()),
        sqnr_db=sqnr_db(expected, actual),
        cka=linear_cka(expected, actual),
    )
