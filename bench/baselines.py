"""Trivial detectors, to stand beside every score: loudness, an energy detector, a regression on log-mel statistics."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from align.audio import load
from align.corpora import Recording
from distill.frontend import reference_log_mel
from edge.bundle import FrontEnd
from edge.errors import UserError

FRONT_END = FrontEnd()


def energy_onsets(path: Path) -> list[float]:
    """Onsets in seconds where the level rises above half-way between the quiet and the loudest moments of a recording.

    Levels of 20 ms in dB; rises nearer than 0.25 s to the one before are one. The half-way mark is the customary first
    guess and was not tuned.
    """
    rate = FRONT_END.sample_rate_hz
    samples = load(path, rate)
    block = rate // 50
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    level = 10 * np.log10(np.convolve(np.mean(np.square(blocks), axis=1), np.ones(3) / 3, mode="same") + 1e-10)
    quiet, loud = np.quantile(level, 0.2), level.max()
    active = level > (quiet + loud) / 2
    rises = np.flatnonzero(np.diff(active.astype(int), prepend=0) == 1) * 0.02
    onsets: list[float] = []
    for rise in rises:
        if not onsets or rise - onsets[-1] >= 0.25:
            onsets.append(float(rise))
    return onsets


class ClipBaseline:
    """Logistic regression on mean, deviation and extremes of each mel band.

    It is fitted on the training clips of the corpora that the bundle was trained on, so that both know the same.
    """

    def __init__(self, recordings: Sequence[Recording], labels: Sequence[str], corpora: Collection[str]) -> None:
        """Fit it.

        Raises:
            UserError: no training recordings with and without a label.
        """
        train = [row for row in recordings if row.split == "train" and row.corpus in corpora]
        for label in labels:
            if len({row.event == label for row in train}) < 2:
                raise UserError(
                    f"no training recordings with and without {label} of the corpora {', '.join(sorted(corpora))}, of "
                    "which the regression could learn; leave it out with --no-baselines"
                )
        self._features = {row.path: _features(row) for row in tqdm(recordings, desc="baselines", unit="clip")}
        features = np.stack([self._features[row.path] for row in train])
        self._models = {
            label: make_pipeline(
                StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
            ).fit(features, [row.event == label for row in train])
            for label in labels
        }

    def score(self, recording: Recording, label: str) -> float:
        """Log-odds that the clip holds the label."""
        return float(self._models[label].decision_function(self._features[recording.path][None])[0])

    def loudness(self, recording: Recording) -> float:
        """The clip's highest band level, as a score that knows nothing."""
        return float(self._features[recording.path][-1])


def _features(recording: Recording) -> NDArray[np.float64]:
    rate = FRONT_END.sample_rate_hz
    samples = load(recording.path, rate)
    samples = np.pad(samples, (0, max(0, FRONT_END.frame_samples - len(samples))))
    log_mel = reference_log_mel(samples[: 15 * rate], FRONT_END)
    parts = (log_mel.mean(axis=1), log_mel.std(axis=1), log_mel.max(axis=1), log_mel.min(axis=1), [log_mel.max()])
    return np.concatenate(parts)
