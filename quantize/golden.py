"""Golden windows: inputs whose outputs a device must reproduce before it uses a bundle.

Synthesised, because a bundle ships in the repository and may hold no recording of a person: pieces of a composed scene
(coughs, breaths, speech-like sound, knocks), tones, noise, clicks and silence, at levels from full scale to none.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import soxr
from numpy.typing import NDArray

from edge.backends.base import Backend
from edge.scene import SceneLabel, compose_scene
from edge.synthesis import SAMPLE_RATE_HZ

SEED = 20


def golden_windows(window_samples: int, sample_rate_hz: int) -> NDArray[np.float32]:
    """Ten windows (10, window_samples), the same every time, in steps of 16 bits so that they pack well."""
    windows = np.stack([*_scene_windows(window_samples, sample_rate_hz), *_signals(window_samples, sample_rate_hz)])
    return np.asarray(np.round(np.clip(windows, -1.0, 1.0) * 32767.0) / 32768.0, dtype=np.float32)


def write_golden(path: Path, windows: NDArray[np.float32], backend: Backend) -> None:
    """Run the windows and store them with their outputs."""
    outputs = [backend.infer(window) for window in windows]
    np.savez_compressed(
        path,
        waveform=windows,
        log_mel=np.stack([output.log_mel for output in outputs]),
        embedding=np.stack([output.embedding for output in outputs]),
        scores=np.stack([output.scores for output in outputs]),
    )


def _scene_windows(window_samples: int, sample_rate_hz: int) -> list[NDArray[np.float64]]:
    """One window around the first sound of each kind."""
    scene = compose_scene(90.0, SEED)
    samples = scene.samples.astype(np.float64)
    if sample_rate_hz != SAMPLE_RATE_HZ:
        samples = soxr.resample(samples, SAMPLE_RATE_HZ, sample_rate_hz, quality="HQ")
    windows = []
    for label in get_args(SceneLabel):
        onset = round(scene.of(label)[0].onset_s * sample_rate_hz)
        start = min(max(0, onset - window_samples // 4), len(samples) - window_samples)
        windows.append(samples[start : start + window_samples])
    return windows


def _signals(window_samples: int, sample_rate_hz: int) -> list[NDArray[np.float64]]:
    rng = np.random.default_rng(SEED)
    time = np.arange(window_samples) / sample_rate_hz
    duration = window_samples / sample_rate_hz
    sweep = np.sin(2 * np.pi * (50.0 * time + (0.45 * sample_rate_hz - 50.0) * time**2 / (2 * duration)))
    burst = rng.standard_normal(window_samples) * np.exp(-((time - duration / 2) ** 2) / (2 * 0.1**2))
    clicks = np.where(np.arange(window_samples) % (sample_rate_hz // 7) == 0, 0.9, 0.0)
    return [
        np.zeros(window_samples),
        sweep,
        0.05 * np.sin(2 * np.pi * 440.0 * time),
        0.3 * burst,
        1e-3 * rng.standard_normal(window_samples),
        clicks,
    ]
