"""How loud a stretch of sound is, how quiet its background, and how much of it is clipped. Pure.

All levels are in dB relative to full scale (dBFS), of the root mean square: a square wave between -1 and 1 has 0, a
sine of the same height -3.01. Channels count alike: power is their mean, and a frame is clipped where any of them is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.quantile import quantile

SILENCE_DBFS = -120.0
"""What digital silence is told as; far below the noise of any converter."""
FULL_SCALE = 0.999
"""A sample as large as this is taken as clipped: 16-bit sound that clips has 32767/32768, or -1."""
SLICE_S = 0.1
FLOOR_SHARE = 0.1
"""The noise floor is the level that a tenth of the slices stay below: what is left between the sounds."""


@dataclass(frozen=True)
class Level:
    """What a `LevelMeter` has seen; levels are None where it saw nothing (the floor: no whole slice)."""

    level_dbfs: float | None
    noise_floor_dbfs: float | None
    clipped: float
    """Share of frames that are clipped, 0..1."""


class LevelMeter:
    """Push blocks of any size, ask at the end; the answer does not depend on the sizes beyond rounding."""

    def __init__(self, sample_rate_hz: int) -> None:
        """A meter for one stretch of sound."""
        self._slice_frames = max(1, round(SLICE_S * sample_rate_hz))
        self._frames = 0
        self._energy = 0.0
        self._clipped = 0
        self._slices: list[float] = []
        self._open_energy, self._open_frames = 0.0, 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take (frames, channels) float32 in [-1, 1]."""
        if len(samples) == 0:
            return
        power = np.mean(np.square(samples, dtype=np.float64), axis=1)
        self._frames += len(power)
        self._energy += float(power.sum())
        self._clipped += int(np.count_nonzero((np.abs(samples) >= FULL_SCALE).any(axis=1)))
        at = 0
        while at < len(power):
            part = power[at : at + self._slice_frames - self._open_frames]
            at += len(part)
            self._open_energy += float(part.sum())
            self._open_frames += len(part)
            if self._open_frames == self._slice_frames:
                self._slices.append(self._open_energy / self._slice_frames)
                self._open_energy, self._open_frames = 0.0, 0

    def level(self) -> Level:
        """What has been pushed so far."""
        if not self._frames:
            return Level(None, None, 0.0)
        floor = _dbfs(quantile(self._slices, FLOOR_SHARE)) if self._slices else None
        return Level(_dbfs(self._energy / self._frames), floor, self._clipped / self._frames)


def measure(samples: NDArray[np.float32], sample_rate_hz: int) -> Level:
    """The level of one stretch, (frames, channels) float32."""
    meter = LevelMeter(sample_rate_hz)
    meter.push(samples)
    return meter.level()


def _dbfs(power: float) -> float:
    return max(SILENCE_DBFS, 10.0 * math.log10(power)) if power > 0 else SILENCE_DBFS
