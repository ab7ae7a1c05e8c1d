"""Breathing rate from a stream: levels that rise and fall with the breath, their spectrum, and which octave is meant.

Two ways in: `BandLevels` takes contact audio and gives the level of ten bands, `ScoreLevels` takes the model's breath
score for airborne sound; both give `STEPS_PER_S` rows a second. `estimate` makes a rate of a window of rows, and
`RespirationMeter` does so every few seconds of a stream. Nothing depends on how the stream was cut into chunks.

In and out are two sounds a breath, often nearly alike, so the strongest period is often half a breath. Hence two steps:

1. The rate with the most power at itself and at its double, summed over the bands: that of the breath or, where in and
   out are much alike, twice that.
2. It is twice that if every other sound differs: then there is power at odd multiples of half the rate. How much of it,
   against the floor, was fitted on twelve people who breathed to a metronome (`bench.respiration`).

It neither resamples nor detects single breaths, and it is not a medical device: a rate is null where it is unsure, and
one that is given can be wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.quantile import quantile

STEPS_PER_S = 5
WINDOW_S = 45
"""The length that the constants below were fitted at."""
HOP_S = 5

BAND_EDGES_HZ = (100, 150, 200, 250, 300, 400, 500, 600, 700, 800, 950)
"""Above most of the heart, and below 1 kHz, where stethoscopes and their recordings end."""
POWER_FLOOR = 1e-12
SLOWEST_BPM, FASTEST_BPM = 5.0, 40.0
BPM_STEP = 0.1
TREND_S = 15
ODD_WIDTH_BPM = 0.6
"""People do not keep time exactly, and the taper widens a line."""
FLOOR_TO_BPM = 60
KIN_WIDTH = 0.12
KIN = np.array([1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 3 / 2, 2, 3])
"""Parts and multiples of a rate that speak for it, not against it."""
CLIP = 2.5
"""Standard deviations beyond which a level is a knock or a cough, not a breath."""

OCTAVE_SLOPE, OCTAVE_MIDDLE = 3.7, 2.2
"""Log-odds of twice the breath a unit of `Spectrum.alternation`, and the alternation at which the odds are even."""
LEAST_QUALITY = 0.4
"""Below it no rate is given."""

Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """What a row holds, and from when on its movement is taken for breathing."""

    flat: float
    """A column that moves by less than this (standard deviation) says nothing."""
    clear_share: float
    """Share of the movement at the rate and its double that leaves no doubt."""


BANDS = Kind(flat=0.02, clear_share=0.5)
"""Rows of `BandLevels`: a tenth of a decibel, and what a quarter of the recordings it was fitted on reach."""
SCORE = Kind(flat=0.1, clear_share=1.0)
"""Rows of `ScoreLevels`. Twice the share, since a single column reaches more by chance than ten do: synthesised sounds
at random times got a rate in one window of 200. No recordings with a known rate stand behind it."""


@dataclass(frozen=True)
class Respiration:
    """A breathing rate. `rate_bpm`: breaths a minute, None when unsure; `quality`: 0..1, how clear it is."""

    rate_bpm: float | None
    quality: float


NO_BREATH = Respiration(None, 0.0)


@dataclass(frozen=True)
class Reading:
    """What the `WINDOW_S` seconds before `end_s` (seconds of the stream) say."""

    end_s: float
    respiration: Respiration


@dataclass(frozen=True)
class Spectrum:
    """What decides: see `analyse`. Powers are shares of all movement, 0..1."""

    rate_bpm: float
    """The rate of step 1: of the breath or of its half."""
    share: float
    """Power at that rate and at its double."""
    rival: float
    """The same of the best rate that is no simple multiple or fraction of it."""
    alternation: float
    """Log of the power at odd multiples of half the rate over the floor."""


class BandLevels:
    """Mono audio to log powers of the bands: a row every 200 ms, each from its own samples alone."""

    def __init__(self, sample_rate_hz: int) -> None:
        """Raises ValueError for a rate too low for the bands or that is no multiple of 20 Hz."""
        if sample_rate_hz % 20 or sample_rate_hz < 2 * BAND_EDGES_HZ[-1]:
            raise ValueError(f"breath bands need a rate in steps of 20 Hz from 1900 Hz up, not {sample_rate_hz} Hz")
        self._step = sample_rate_hz // STEPS_PER_S
        frame = self._step // 2
        self._starts = (0, frame // 2, frame)
        self._window = np.hanning(frame + 2)[1:-1]
        bins_hz = np.fft.rfftfreq(frame, 1 / sample_rate_hz)
        self._edges = np.searchsorted(bins_hz, BAND_EDGES_HZ)
        self._rest = np.empty(0, np.float32)

    def push(self, samples: NDArray[np.float32]) -> Rows:
        """Take samples (n,) in [-1, 1]; return the rows (m, bands) that they complete."""
        held = np.concatenate([self._rest, samples])
        count = len(held) // self._step
        rows = [self._row(held[at * self._step : (at + 1) * self._step]) for at in range(count)]
        self._rest = held[count * self._step :].copy()
        return np.array(rows).reshape(count, len(BAND_EDGES_HZ) - 1)

    def _row(self, block: NDArray[np.float32]) -> Rows:
        frames = np.stack([block[start : start + len(self._window)] for start in self._starts]) * self._window
        power = np.square(np.abs(np.fft.rfft(frames, axis=1))) / len(self._window)
        bands = np.add.reduceat(power[:, : self._edges[-1]], self._edges[:-1], axis=1)
        # The mean of logs, so that a knock in one frame does not outshout the other two.
        return np.asarray(np.log(bands + POWER_FLOOR).mean(axis=0), dtype=np.float64)


class ScoreLevels:
    """The model's fused breath score to its mean every 200 ms, as rows of one column."""

    def __init__(self, frames_per_s: float) -> None:
        """Raises ValueError when 200 ms are no whole number of frames."""
        frames = frames_per_s / STEPS_PER_S
        if frames < 1 or abs(frames - round(frames)) > 1e-6:
            raise ValueError(f"{frames_per_s} frames a second do not divide into steps of 200 ms")
        self._frames = round(frames)
        self._rest = np.empty(0, np.float64)

    def push(self, scores: NDArray[np.float32]) -> Rows:
        """Take scores (n,) of consecutive frames; return the rows (m, 1) that they complete."""
        held = np.concatenate([self._rest, scores.astype(np.float64)])
        count = len(held) // self._frames
        # Row by row: numpy picks the order of a sum by the array's shape, and chunks must not show in the last bit.
        rows = [held[at * self._frames : (at + 1) * self._frames].mean() for at in range(count)]
        self._rest = held[count * self._frames :].copy()
        return np.array(rows).reshape(count, 1)


class RespirationMeter:
    """The rate every `HOP_S` seconds, over the last `WINDOW_S`, from rows of one kind."""

    def __init__(self, kind: Kind) -> None:
        """Nothing heard yet; the first reading comes after `WINDOW_S` seconds."""
        self._kind = kind
        self._rows: list[Rows] = []
        self._steps = 0

    def push(self, rows: Rows) -> Iterator[Reading]:
        """Take rows (n, columns); yield the readings that they complete. Exhaust the iterator: it takes the rows."""
        window, hop = WINDOW_S * STEPS_PER_S, HOP_S * STEPS_PER_S
        for row in rows:
            self._rows.append(row)
            self._steps += 1
            if self._steps >= window and (self._steps - window) % hop == 0:
                self._rows = self._rows[-window:]
                yield Reading(self._steps / STEPS_PER_S, estimate(np.array(self._rows), self._kind))


def estimate(rows: Rows, kind: Kind) -> Respiration:
    """The breathing rate in a window of rows (n, columns), `STEPS_PER_S` a second."""
    found = analyse(rows, kind)
    if found is None:
        return NO_BREATH
    rate_bpm, quality = decide(found, kind, OCTAVE_SLOPE * (found.alternation - OCTAVE_MIDDLE))
    return Respiration(round(rate_bpm, 1) if quality >= LEAST_QUALITY else None, round(quality, 2))


def decide(found: Spectrum, kind: Kind, octave: float) -> tuple[float, float]:
    """Step 2: the rate per minute and its quality, the least of three: clear of rivals, in its octave, and of noise.

    octave: log-odds that `found.rate_bpm` is twice the breath's.
    """
    doubled = octave > 0 and found.rate_bpm / 2 >= SLOWEST_BPM
    clear = min(1.0, found.share / kind.clear_share)
    quality = min(clear, 1.0 - found.rival / found.share, math.tanh(abs(octave) / 2))
    return found.rate_bpm / 2 if doubled else found.rate_bpm, quality


def analyse(rows: Rows, kind: Kind) -> Spectrum | None:
    """Step 1 and the evidence for step 2, of rows as for `estimate`; None where nothing moves."""
    moving = _movement(rows, kind.flat)
    if moving.shape[1] == 0:
        return None
    bpm, waves = _waves(len(moving))
    power = _shares(waves, moving)
    allowed = (bpm >= SLOWEST_BPM - 1e-6) & (bpm <= FASTEST_BPM + 1e-6)
    score = np.where(allowed, power + np.interp(2 * bpm, bpm, power, right=0.0), 0.0)
    best = int(np.argmax(score))
    rate = float(bpm[best])
    foreign = (np.abs(bpm[:, np.newaxis] / rate / KIN - 1) > KIN_WIDTH).all(axis=1)
    return Spectrum(rate, float(score[best]), float(score[foreign].max()), _alternation(bpm, waves, moving, rate))


def _alternation(bpm: Rows, waves: NDArray[np.complex128], moving: Rows, rate: float) -> float:
    """As in `Spectrum`. Tapered, or a strong rate would spill over into its half."""
    taper = np.hanning(len(moving) + 2)[1:-1, np.newaxis]
    power = _shares(waves, moving * taper)
    odd = sum(power[np.abs(bpm - part * rate) <= ODD_WIDTH_BPM].max(initial=0.0) for part in (0.5, 1.5))
    floor = quantile(power[bpm <= FLOOR_TO_BPM], 0.5)
    return float(np.log((odd + 1e-9) / (floor + 1e-9)))


def _shares(waves: NDArray[np.complex128], moving: Rows) -> Rows:
    """Share of the movement (n, columns) that is a wave of each rate, (r,), summed over the columns."""
    power = np.square(np.abs(waves @ moving)).sum(axis=1)
    return np.asarray(power * 2 / (len(moving) * np.square(moving).sum()))


def _movement(rows: Rows, flat: float) -> Rows:
    """Columns that move, without trend, knocks and scale: (n, at most columns)."""
    smooth = _smooth(rows, 3)
    level = smooth - _smooth(smooth, TREND_S * STEPS_PER_S)
    deviation = level.std(axis=0)
    moves = deviation >= flat
    clipped = np.clip(level[:, moves] / deviation[moves], -CLIP, CLIP)
    return np.asarray(clipped - clipped.mean(axis=0))


def _smooth(rows: Rows, width: int) -> Rows:
    """Moving Hann average down the columns, `width` odd, ends held."""
    kernel = np.hanning(width + 2)[1:-1]
    padded = np.pad(rows, ((width // 2, width // 2), (0, 0)), mode="edge")
    columns = [np.convolve(column, kernel / kernel.sum(), mode="valid") for column in padded.T]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=4)
def _waves(steps: int) -> tuple[Rows, NDArray[np.complex128]]:
    """Rates (r,) per minute, from half the slowest to twice the fastest, and a complex wave (r, steps) of each."""
    bpm = np.arange(round(SLOWEST_BPM / 2 / BPM_STEP), round(2 * FASTEST_BPM / BPM_STEP) + 1) * BPM_STEP
    time_min = np.arange(steps) / (60 * STEPS_PER_S)
    return bpm.astype(np.float64), np.exp(-2j * np.pi * np.outer(bpm, time_min)).astype(np.complex128)
