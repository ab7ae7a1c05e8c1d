"""Compose long scenes with exact times out of recordings.

A scene is a bed of ambience with events placed in it. Training draws scenes from training recordings through random
channels; `bench.scenes` draws them from test recordings. Here is only the mixing: which sound, where and how loud is
for the caller to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import soxr
from numpy.typing import NDArray

from align.channel import Samples, decibels
from distill.targets import PRESENT, UNKNOWN, Targets

FADE_FRAMES = 1
"""Cuts are faded over 10 ms so that no click marks where a recording was cut."""


@dataclass(frozen=True)
class Clip:
    """A decoded recording or a piece of one."""

    samples: Samples
    targets: Targets
    """(ceil(samples / hop), labels)."""
    event: str
    corpus: str
    holds: tuple[bool | None, ...] = ()
    """Which labels the whole recording holds; None where nobody knows."""
    marked: bool = False
    """Whether its targets come from hand-marked times."""

    def at_speed(self, factor: float, hop: int) -> Clip:
        """The clip played `factor` times as fast, pitch and targets with it."""
        samples = soxr.resample(self.samples, round(1000 * factor), 1000, quality="HQ")
        frames = -(-len(samples) // hop)
        origin = np.minimum((np.arange(frames) * factor).astype(int), len(self.targets) - 1)
        return replace(self, samples=samples, targets=self.targets[origin])

    def piece(self, first_frame: int, last_frame: int, hop: int) -> Clip:
        """The part from `first_frame` up to `last_frame`, faded in and out."""
        samples = self.samples[first_frame * hop : last_frame * hop].copy()
        fade = min(len(samples) // 2, FADE_FRAMES * hop)
        ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
        samples[:fade] *= ramp
        samples[len(samples) - fade :] *= ramp[::-1]
        return Clip(samples, self.targets[first_frame:last_frame], self.event, self.corpus, self.holds, self.marked)


def active_level_db(samples: Samples, sample_rate_hz: int) -> float:
    """Level of the loud part: the 90th percentile of the level over 50 ms, in dB relative to full scale."""
    block = sample_rate_hz // 20
    if len(samples) < block:
        samples = np.pad(samples, (0, block - len(samples)))
    blocks = samples[: len(samples) // block * block].reshape(-1, block)
    power = np.mean(np.square(blocks, dtype=np.float64), axis=1)
    return float(10.0 * np.log10(np.quantile(power, 0.9) + 1e-12))


class Canvas:
    """A scene being composed: samples and targets that grow by placing clips."""

    def __init__(self, frames: int, hop: int, labels: int) -> None:
        self.hop = hop
        self.samples: Samples = np.zeros(frames * hop, dtype=np.float32)
        self.targets: Targets = np.zeros((frames, labels), dtype=np.int8)

    def place(self, clip: Clip, first_frame: int, gain_db: float, samples: Samples | None = None) -> None:
        """Add a clip at a frame (may be negative: then it has begun before the scene); what overhangs is cut.

        A moment is present if any sound makes it so, and unknown if any leaves it open.

        Args:
            clip: its targets and, unless `samples` is given, its samples.
            first_frame: where it starts, in hops.
            gain_db: gain to apply.
            samples: the clip's samples after a channel, same length.
        """
        audio = clip.samples if samples is None else samples
        skip = max(0, -first_frame)
        start = max(0, first_frame)
        audio = audio[skip * self.hop : skip * self.hop + len(self.samples) - start * self.hop]
        self.samples[start * self.hop : start * self.hop + len(audio)] += audio * np.float32(decibels(gain_db))
        given = clip.targets[skip : skip + len(self.targets) - start]
        self.targets[start : start + len(given)] = merge(self.targets[start : start + len(given)], given)


def merge(first: Targets, second: Targets) -> Targets:
    """Targets of a mixture: present beats unknown, unknown beats absent."""
    present = (first == PRESENT) | (second == PRESENT)
    unknown = (first == UNKNOWN) | (second == UNKNOWN)
    return np.where(present, PRESENT, np.where(unknown, UNKNOWN, 0)).astype(np.int8)


def coloured_noise(length: int, exponent: float, rng: np.random.Generator) -> Samples:
    """Noise whose power falls as 1 / f^exponent (0 white, 1 pink, 2 brown), at unit level."""
    spectrum = np.fft.rfft(rng.standard_normal(length))
    frequency = np.maximum(np.arange(len(spectrum)), max(1.0, len(spectrum) / 400))
    noise: NDArray[np.float64] = np.fft.irfft(spectrum / frequency ** (exponent / 2.0), length)
    return np.asarray(noise / (noise.std() + 1e-12), dtype=np.float32)
