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

GAIN_SHARE, GAIN_DB = 0.5, 10.0
"""Windows heard louder or quieter than their scene, by up to so much, so that a scene does not come back the same."""


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
        if rng.random() < GAIN_SHARE:
            frames = at_gain(frames, rng.uniform(-GAIN_DB, GAIN_DB), self.offset)
        if rng.random() < ENDING_SHARE:
            end = int(rng.integers(self.hops))
            frames[end:] = np.log(self.offset)
            wanted[end:] = 0
        return torch.from_numpy(np.ascontiguousarray(frames.T)), torch.from_numpy(to_steps(wanted, FRAMES_PER_STEP))


def at_gain(log_mel: NDArray[np.float32], gain_db: float, offset: float) -> NDArray[np.float32]:
    """The log-mel of the same sound at another gain; `offset` is what the front-end adds to the power."""
    power = np.maximum(np.exp(log_mel) - np.float32(offset), 0.0)
    return np.asarray(np.log(power * np.float32(10.0 ** (gain_db / 10.0)) + np.float32(offset)), dtype=np.float32)


class EpochSampler(Sampler[int]):
    """Every epoch its own run of window numbers, so that a resumed epoch draws what it would have drawn.

    Lightning calls `set_epoch` before every epoch but the first of a resumed training, whose loader it starts earlier:
    that epoch is given here.
    """

    def __init__(self, windows_per_epoch: int, epoch: int = 0) -> None:
        self.windows_per_epoch, self.epoch = windows_per_epoch, epoch

    def set_epoch(self, epoch: int) -> None:
        """Move to the run of windows of an epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.windows_per_epoch
        return iter(range(first, first + self.windows_per_epoch))

    def __len__(self) -> int:
        return self.windows_per_epoch
