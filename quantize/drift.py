"""The bundle's reference for drift: mean and shrunk covariance of the embeddings of training windows.

Does: picks the training windows with sound in them, and measures how far sets of a few of them lie from the rest. Does
not: see any test recording, or watch a device (`edge.drift` does).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from edge.backends.base import Backend
from edge.drift import DRIFT, DriftReference

__all__ = ["DRIFT", "drift_reference", "write_drift"]

ACTIVE_SCORE = 0.5
FEWEST_ACTIVE = 64
SET_WINDOWS = 4
"""Of the sets whose distances give the threshold. Four windows of four people lie about as far out as many windows of
one; sets of many people would set the threshold where every single person exceeds it."""
SET_QUANTILE = 0.99
ROUNDS = 50
SEED = 40


def write_drift(path: Path, windows: NDArray[np.float32], backend: Backend) -> DriftReference | None:
    """Write `drift.npz` of training windows (n, window_samples), heard by the backend that ships.

    Returns the reference, or None, and writes nothing, where too few windows have sound in them.
    """
    outputs = [backend.infer(window) for window in windows]
    reference = drift_reference(
        np.stack([output.embedding for output in outputs]), np.stack([output.scores for output in outputs])
    )
    if reference is not None:
        np.savez_compressed(
            path,
            mean=reference.mean,
            whitening=reference.whitening,
            threshold=np.float32(reference.threshold),
            active_score=np.float32(reference.active_score),
        )
    return reference


def drift_reference(embeddings: NDArray[np.float32], scores: NDArray[np.float32]) -> DriftReference | None:
    """The reference of embeddings (n, D) and scores (n, steps, labels); None where too few have sound in them.

    The threshold comes from windows that mean and covariance had not seen: half of them each time, ROUNDS times.
    """
    active = embeddings[scores.max(axis=(1, 2)) >= ACTIVE_SCORE]
    if len(active) < FEWEST_ACTIVE:
        return None
    rng = np.random.default_rng(SEED)
    distances: list[float] = []
    for _ in range(ROUNDS):
        shuffled = active[rng.permutation(len(active))]
        seen, unseen = shuffled[: len(active) // 2], shuffled[len(active) // 2 :]
        mean, whitening = _fit(seen)
        fitted = DriftReference(mean, whitening, 1.0, ACTIVE_SCORE)
        starts = range(0, len(unseen) - SET_WINDOWS + 1, SET_WINDOWS)
        distances += [fitted.distance(unseen[start : start + SET_WINDOWS]) for start in starts]
    return DriftReference(*_fit(active), float(np.quantile(distances, SET_QUANTILE)), ACTIVE_SCORE)


def _fit(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean, and a whitening matrix by the covariance shrunk as Ledoit and Wolf (2004) do, which has an inverse."""
    fitted = LedoitWolf().fit(embeddings.astype(np.float64))
    whitening = np.linalg.cholesky(fitted.precision_).T
    return fitted.location_.astype(np.float32), whitening.astype(np.float32)
