"""Simulate what lies between a mouth and a file: room, microphone, telephone, codec, level.

The corpora differ in their channels as much as in what they hold, so a net can learn "telephone" for "cough". Training
sounds of every label therefore pass through random channels. Codecs are real ones (libsndfile's),
encoded and decoded in memory. Every function maps float32 (samples,) at one rate to the same length and timing.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from torchaudio import functional as filters

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Codec:
    """A codec of libsndfile, the rate it is used at, and how often it is drawn."""

    container: str
    subtype: str
    sample_rate_hz: int
    weight: float
    lossy: bool = False
    """Whether its quality is a number that can be drawn."""


# MP3 takes several times as long as the others, Opus twenty times: hence their small shares.
CODECS = (
    Codec("WAV", "GSM610", 8000, 3.0),
    Codec("WAV", "ULAW", 8000, 3.0),
    Codec("WAV", "IMA_ADPCM", 16000, 2.0),
    Codec("OGG", "VORBIS", 16000, 3.0, lossy=True),
    Codec("MP3", "MPEG_LAYER_III", 16000, 1.0, lossy=True),
    Codec("OGG", "OPUS", 16000, 0.15, lossy=True),
)

SMALLEST = 0.95
"""Nearer to 1, libsndfile writes MP3 frames that it cannot read back."""


def decibels(gain_db: float) -> float:
    """Amplitude factor of a gain in dB."""
    return float(10.0 ** (gain_db / 20.0))


def level_db(samples: Samples) -> float:
    """Root-mean-square level in dB relative to full scale; -120 for silence."""
    return float(10.0 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-12)) if len(samples) else -120.0


def through_codec(samples: Samples, sample_rate_hz: int, codec: Codec, quality: float = 0.5) -> Samples:
    """Encode and decode. `quality` is 0 (best) to 1 (smallest) for lossy codecs and ignored by the others."""
    narrow = _resample(np.clip(samples, -1.0, 1.0), sample_rate_hz, codec.sample_rate_hz)
    packed = io.BytesIO()
    soundfile.write(
        packed,
        narrow,
        codec.sample_rate_hz,
        format=codec.container,
        subtype=codec.subtype,
        compression_level=quality if codec.lossy else None,
    )
    packed.seek(0)
    decoded = soundfile.read(packed, dtype="float32")[0]
    return _fit(_resample(decoded, codec.sample_rate_hz, sample_rate_hz), len(samples))


def band_limit(samples: Samples, sample_rate_hz: int, limit_rate_hz: int) -> Samples:
    """Lose everything above half of `limit_rate_hz`, as a low-rate recorder does."""
    return _fit(
        _resample(_resample(samples, sample_rate_hz, limit_rate_hz), limit_rate_hz, sample_rate_hz), len(samples)
    )


def room_response(
    sample_rate_hz: int, reverberation_s: float, direct_to_reverberant_db: float, rng: np.random.Generator
) -> Samples:
    """A direct sound followed by exponentially decaying noise that falls by 60 dB in `reverberation_s`."""
    length = int(sample_rate_hz * reverberation_s)
    tail = rng.standard_normal(length) * 10.0 ** (-3.0 * np.arange(length) / length)
    tail[: int(0.002 * sample_rate_hz)] = 0.0
    tail *= decibels(-direct_to_reverberant_db) / np.sqrt(np.sum(np.square(tail)) + 1e-12)
    tail[0] = 1.0
    return tail.astype(np.float32)


def in_room(samples: Samples, response: Samples) -> Samples:
    """Convolve with a room response whose direct sound is at its first sample, so that onsets stay where they are."""
    return np.asarray(fftconvolve(samples, response)[: len(samples)], dtype=np.float32)


def tilt(samples: Samples, sample_rate_hz: int, rng: np.random.Generator) -> Samples:
    """Colour the spectrum as microphones and placements do: one to three random peaks or dips, at times a low cut."""
    audio = torch.from_numpy(np.ascontiguousarray(samples))
    for _ in range(rng.integers(1, 4)):
        centre = float(np.exp(rng.uniform(np.log(80.0), np.log(0.45 * sample_rate_hz))))
        audio = filters.equalizer_biquad(audio, sample_rate_hz, centre, rng.uniform(-9.0, 9.0), rng.uniform(0.4, 1.5))
    if rng.random() < 0.3:
        audio = filters.highpass_biquad(audio, sample_rate_hz, rng.uniform(60.0, 400.0))
    return np.asarray(audio.numpy(), dtype=np.float32)


def random_channel(samples: Samples, sample_rate_hz: int, rng: np.random.Generator) -> Samples:
    """Pass a sound through a random microphone, band limit, codec and clipping, at about the level it came with."""
    if rng.random() < 0.6:
        samples = tilt(samples, sample_rate_hz, rng)
    draw = rng.random()
    if draw < 0.25:
        samples = band_limit(samples, sample_rate_hz, int(rng.integers(6000, 12000)))
    elif draw < 0.65:
        weights = np.array([codec.weight for codec in CODECS])
        codec = CODECS[rng.choice(len(CODECS), p=weights / weights.sum())]
        quality = rng.uniform(0.3, SMALLEST)
        samples = _driven(samples, rng, lambda loud: through_codec(loud, sample_rate_hz, codec, quality))
    if rng.random() < 0.08:
        peak = float(np.abs(samples).max(initial=0.0))
        ceiling = peak * rng.uniform(0.3, 0.9)
        samples = np.clip(samples, -ceiling, ceiling)
    return samples


def _driven(samples: Samples, rng: np.random.Generator, effect: Callable[[Samples], Samples]) -> Samples:
    """Apply an effect at the level at which recorders drive it, then return to the level before."""
    peak = float(np.abs(samples).max(initial=0.0))
    if peak < 1e-6:
        return samples
    drive = decibels(rng.uniform(-24.0, -1.0)) / peak
    return np.asarray(effect((samples * drive).astype(np.float32)) / drive, dtype=np.float32)


def _resample(samples: Samples, source_hz: int, target_hz: int) -> Samples:
    return samples if source_hz == target_hz else soxr.resample(samples, source_hz, target_hz, quality="HQ")


def _fit(samples: Samples, length: int) -> Samples:
    return samples[:length] if len(samples) >= length else np.pad(samples, (0, length - len(samples)))
