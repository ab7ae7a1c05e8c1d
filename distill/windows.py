"""Windows of a training, cut from a pool of scenes: which scene, which moment, at which level.

A window is a function of (seed, number) alone, so a resumed training sees what an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from distill.pool import ScenePool
from distill.student import FRAMES_PER_STEP
from distill.targets import to_steps
from edge.bundle import FrontEnd

OPENING_SHARE = 0.1
"""Windows that begin with their scene, as a stream begins: without anything before it."""

ENDING_SHARE = 0.06
"""Windows that run into digital silence, as at a stream's end."""

COLOUR_SHARE, GAIN_DB, TILT_DB, PEAK_DB = 0.7, 10.0, 6.0, 9.0
"""Windows heard through another microphone than their scene: how many, how much louder or quieter, by how much the ends
of the spectrum are raised or lowered, and how high one broad peak or how deep one dip in it is. So a scene does not
come back the same, and breath, which is noise, is not learnt by the colour of a few telephones."""


class WindowDataset(Dataset[tuple[Tensor, Tensor]]):
    """Window `index`: log-mel (mel_bands, frames) float32 and targets (steps, labels) int8."""

    def __init__(self, pool: ScenePool, front_end: FrontEnd, window_s: float, seed: int) -> None:
        self.pool, self.seed, self.offset = pool, seed, front_end.log_offset
        window_samples = round(window_s * front_end.sample_rate_hz)
        self.hops = window_samples // front_end.hop_samples
        self.frames = 1 + (window_samples - front_end.frame_samples) // front_end.hop_samples

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Draw a scene and cut a window out of it."""
        # The third number keeps these draws apart from those of the scenes, which have the same seed.
        rng = np.random.default_rng([self.seed, index, 1])
        log_mel, targets = self.pool[int(rng.integers(len(self.pool)))]
        start = 0 if rng.random() < OPENING_SHARE else int(rng.integers(len(targets) - self.hops + 1))
        frames = log_mel[start : start + self.frames].astype(np.float32)
        wanted = np.array(targets[start : start + self.hops])
        if rng.random() < COLOUR_SHARE:
            frames = at_gain(frames, random_colour_db(frames.shape[1], rng), self.offset)
        if rng.random() < ENDING_SHARE:
            end = int(rng.integers(self.hops))
            frames[end:] = np.log(self.offset)
            wanted[end:] = 0
        return torch.from_numpy(np.ascontiguousarray(frames.T)), torch.from_numpy(to_steps(wanted, FRAMES_PER_STEP))


def random_colour_db(bands: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A gain in dB for each of so many mel bands, shape (bands,): level, tilt, and one broad peak or dip."""
    place = np.linspace(-1.0, 1.0, bands)
    tilt = rng.uniform(-TILT_DB, TILT_DB) * place
    peak = rng.uniform(-PEAK_DB, PEAK_DB) * np.exp(-np.square((place - rng.uniform(-1.0, 1.0)) / rng.uniform(0.1, 0.5)))
    return np.asarray(rng.uniform(-GAIN_DB, GAIN_DB) + tilt + peak, dtype=np.float32)


def at_gain(log_mel: NDArray[np.float32], gain_db: NDArray[np.float32], offset: float) -> NDArray[np.float32]:
    """The log-mel of the same sound after a gain in each band.

    Args:
        log_mel: (frames, bands).
        gain_db: (bands,) or (1,).
        offset: what the front-end adds to the power.
    """
    power = np.maximum(np.exp(log_mel) - np.float32(offset), 0.0)
    return np.asarray(np.log(power * np.float32(10.0) ** (gain_db / 10.0) + np.float32(offset)), dtype=np.float32)


class EpochSampler(Sampler[int]):
    """Every epoch its own run of window numbers; Lightning calls `set_epoch`, so a resumed epoch draws the same."""

    def __init__(self, windows_per_epoch: int) -> None:
        self.windows_per_epoch, self.epoch = windows_per_epoch, 0

    def set_epoch(self, epoch: int) -> None:
        """Move to the run of windows of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.windows_per_epoch
        return iter(range(first, first + self.windows_per_epoch))

    def __len__(self) -> int:
        return self.windows_per_epoch
