"""Views of a recording: what teacher and student hear of it, a function of (recording, view number, seed) alone.

Consistent teaching (Beyer et al., "A good teacher is patient and consistent", arXiv 2106.05237): the teacher is asked
about the very sound that the student hears, so that its answer is right. All that changes a view is therefore done to
its samples, and nothing to the features of one of the two. It knows neither.
"""

from __future__ import annotations

import zlib

import numpy as np
import soxr
from numpy.typing import NDArray

from align.channel import Samples, decibels, level_db
from align.clips import Pcm, crop
from distill.scenes import coloured_noise
from distill.teach_config import ViewSettings

CORNERS = 6
"""Points of a random frequency response, evenly over the logarithm of frequency."""

LOWEST_HZ = 20.0
RECIPE = 1
"""Of how a view comes about: a part of what the teacher's answers are kept under."""


def make_view(
    samples: Pcm, key: str, number: int, *, length: int, sample_rate_hz: int, settings: ViewSettings, seed: int
) -> Samples:
    """View `number` of a recording: (length,) float32 in [-1, 1].

    A piece from a random place on, coloured, with noise at times, louder or quieter. A recording that is little longer
    than a view, or shorter, is heard in a circle, which has no beginning.

    Args:
        samples: the whole recording.
        key: its name, which tells its draws from those of others; no order of recordings matters.
        number: from 0 on.
        length: samples of the view.
        sample_rate_hz: of the samples.
        settings: what is done.
        seed: of the training.
    """
    rng = draws(key, number, seed)
    start = start_of(len(samples), length, rng)
    view = crop(samples, length, start)
    if settings.tilt_db:
        view = coloured(view, sample_rate_hz, rng.uniform(-settings.tilt_db, settings.tilt_db, CORNERS))
    if rng.random() < settings.noise_share:
        snr_db = rng.uniform(*settings.snr_db)
        noise = coloured_noise(length, rng.uniform(0.0, 2.0), rng)
        view = view + noise * np.float32(decibels(level_db(view) - snr_db))
    loudest = float(np.abs(view).max(initial=0.0))
    gain = decibels(rng.uniform(-settings.gain_db, settings.gain_db))
    # Never past full scale: what clips is another sound.
    return np.asarray(view * np.float32(min(gain, 1.0 / max(loudest, 1e-9))), dtype=np.float32)


def draws(key: str, number: int, seed: int) -> np.random.Generator:
    """What is random about view `number` of a recording; the first draw is where it begins."""
    return np.random.default_rng([seed, number, zlib.crc32(key.encode())])


def start_of(samples: int, length: int, rng: np.random.Generator) -> int:
    """Where a view of `length` begins in a recording of so many samples."""
    room = samples - length
    return int(rng.integers(room + 1 if room > length else samples))


def coloured(samples: Samples, sample_rate_hz: int, corners_db: NDArray[np.float64]) -> Samples:
    """The samples through a frequency response that leads over the given corners, as microphones have one."""
    spectrum = np.fft.rfft(samples)
    hertz = np.fft.rfftfreq(len(samples), 1.0 / sample_rate_hz)
    places = np.geomspace(LOWEST_HZ, sample_rate_hz / 2, len(corners_db))
    response_db = np.interp(np.log(np.maximum(hertz, LOWEST_HZ)), np.log(places), corners_db)
    return np.asarray(np.fft.irfft(spectrum * 10.0 ** (response_db / 20.0), len(samples)), dtype=np.float32)


def at_rate(view: Samples, source_hz: int, target_hz: int) -> Samples:
    """The view at another rate."""
    if source_hz == target_hz:
        return view
    return np.asarray(soxr.resample(view, source_hz, target_hz, quality="HQ"), dtype=np.float32)


def at_least(view: Samples, length: int) -> Samples:
    """The view, heard again from its beginning until it has `length` samples."""
    return view if len(view) >= length else np.resize(view, length)
