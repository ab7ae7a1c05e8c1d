"""Channels must change how a sound is heard, never when it is heard."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import fftconvolve

from align.channel import (
    CODECS,
    SMALLEST,
    Codec,
    band_limit,
    in_room,
    level_db,
    random_channel,
    room_response,
    through_codec,
)

RATE = 16000


@pytest.fixture
def burst() -> np.ndarray:
    """A decaying burst of noise that starts at 0.5 s of 2 s."""
    rng = np.random.default_rng(0)
    samples = np.zeros(2 * RATE, dtype=np.float32)
    samples[8000:12000] = 0.3 * rng.standard_normal(4000) * np.exp(-np.arange(4000) / 800)
    return samples


@pytest.mark.parametrize("quality", [0.3, SMALLEST])
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.subtype)
def test_codec_keeps_length_and_timing(burst: np.ndarray, codec: Codec, quality: float) -> None:
    heard = through_codec(burst, RATE, codec, quality)
    limited = band_limit(burst, RATE, codec.sample_rate_hz)
    lag = int(np.argmax(fftconvolve(heard, limited[::-1]))) - (len(burst) - 1)
    assert len(heard) == len(burst)
    assert abs(lag) <= RATE // 1000
    assert not np.array_equal(heard, burst)


def test_band_limit_removes_what_lies_above() -> None:
    time = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 1000 * time), np.sin(2 * np.pi * 5000 * time)
    assert level_db(band_limit(low.astype(np.float32), RATE, 8000)) > -4
    assert level_db(band_limit(high.astype(np.float32), RATE, 8000)) < -40


def test_room_leaves_the_onset_in_place(burst: np.ndarray) -> None:
    response = room_response(RATE, 0.4, 6.0, np.random.default_rng(1))
    heard = in_room(burst, response)
    assert np.abs(heard[:8000]).max() < 1e-6
    assert np.abs(heard[8000:8010]).max() > 0.01
    assert level_db(heard[12000:16000]) > level_db(burst[12000:16000]) + 20


def test_random_channel_is_a_function_of_its_seed(burst: np.ndarray) -> None:
    first = random_channel(burst, RATE, np.random.default_rng(5))
    assert np.array_equal(first, random_channel(burst, RATE, np.random.default_rng(5)))
    assert any(
        not np.array_equal(first, random_channel(burst, RATE, np.random.default_rng(seed))) for seed in range(6, 10)
    )


def test_random_channel_survives_silence() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    for seed in range(20):
        assert np.isfinite(random_channel(silence, RATE, np.random.default_rng(seed))).all()
