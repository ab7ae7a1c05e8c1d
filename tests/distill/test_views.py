"""A view is the same whenever and wherever it is made, and differs from its recording as the settings say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from distill.teach_config import ViewSettings
from distill.views import at_least, at_rate, coloured, make_view

RATE = 4000
PLAIN = {"gain_db": 0.0, "noise_share": 0.0, "tilt_db": 0.0}


def tone(seconds: float, hertz: float = 100.0) -> NDArray[np.int16]:
    time = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(8000 * np.sin(2 * np.pi * hertz * time), dtype=np.int16)


def view(samples: NDArray[np.int16], number: int = 0, length: int = RATE, **changes: Any) -> NDArray[np.float32]:
    settings = ViewSettings.model_validate(changes)
    return make_view(samples, "a.wav", number, length=length, sample_rate_hz=RATE, settings=settings, seed=0)


def test_a_view_is_a_function_of_recording_number_and_seed() -> None:
    samples = tone(3.0)
    assert np.array_equal(view(samples, 5), view(samples, 5))
    assert not np.array_equal(view(samples, 5), view(samples, 6))
    settings = ViewSettings.model_validate({})
    other = make_view(samples, "b.wav", 5, length=RATE, sample_rate_hz=RATE, settings=settings, seed=0)
    assert not np.array_equal(view(samples, 5), other)
    other = make_view(samples, "a.wav", 5, length=RATE, sample_rate_hz=RATE, settings=settings, seed=1)
    assert not np.array_equal(view(samples, 5), other)


def test_a_view_without_changes_is_a_piece_of_the_recording() -> None:
    samples = np.arange(3 * RATE, dtype=np.int16)
    piece = view(samples, **PLAIN) * 32768
    assert np.array_equal(np.diff(piece), np.ones(RATE - 1))


def test_a_recording_as_long_as_a_view_is_heard_in_a_circle() -> None:
    samples = np.arange(RATE, dtype=np.int16)
    piece = np.round(view(samples, **PLAIN) * 32768).astype(int)
    assert np.array_equal(np.sort(piece), samples)
    assert piece[0] != 0


def test_a_recording_of_less_than_two_views_is_heard_from_anywhere() -> None:
    samples = np.arange(3 * RATE // 2, dtype=np.int16)
    starts = [round(view(samples, number, **PLAIN)[0] * 32768) for number in range(20)]
    assert max(starts) > RATE // 2


@pytest.mark.parametrize("number", range(8))
def test_noise_has_the_level_that_was_asked_for(number: int) -> None:
    clean = view(tone(3.0), number, **PLAIN)
    noisy = view(tone(3.0), number, **(PLAIN | {"noise_share": 1.0, "snr_db": (12.0, 12.0)}))
    # The same draws come first, so the piece is the same.
    ratio_db = 10 * np.log10(np.mean(clean**2) / np.mean((noisy - clean) ** 2))
    assert ratio_db == pytest.approx(12.0, abs=0.5)


def test_views_are_louder_and_quieter_than_their_recording() -> None:
    settings = PLAIN | {"gain_db": 6.0}
    gains = [view(tone(3.0), number, **settings).std() / view(tone(3.0), number, **PLAIN).std() for number in range(20)]
    assert 0.5 < min(gains) < 0.8
    assert 1.2 < max(gains) < 2.0


def test_a_tilt_changes_each_band_by_its_own_gain() -> None:
    noise = np.random.default_rng(0).integers(-3000, 3000, 3 * RATE).astype(np.int16)
    plain, tilted = view(noise, **PLAIN), view(noise, **(PLAIN | {"tilt_db": 12.0}))
    change_db = 20 * np.log10(np.abs(np.fft.rfft(tilted))[20:] / np.abs(np.fft.rfft(plain))[20:])
    assert np.ptp(change_db) > 3.0


def test_gain_never_leads_past_full_scale() -> None:
    loud = np.asarray(np.sign(tone(3.0)) * 30000, dtype=np.int16)
    assert max(float(np.abs(view(loud, number, gain_db=30.0)).max()) for number in range(20)) <= 1.0


def test_silence_stays_silent() -> None:
    assert not view(np.zeros(2 * RATE, dtype=np.int16), noise_share=0.0).any()


def test_colour_changes_a_tone_by_the_response_at_its_frequency() -> None:
    samples = tone(2.0, 200.0).astype(np.float32) / 32768
    louder = coloured(samples, RATE, np.full(6, 6.0))
    assert np.allclose(louder, samples * 10 ** (6 / 20), atol=1e-4)
    low_only = coloured(samples, RATE, np.array([9.0, 0.0, 0.0, 0.0, 0.0, 0.0]))
    assert np.std(low_only) == pytest.approx(np.std(samples), rel=0.02)
    # 200 Hz lies half-way between the corners at 126 and 317 Hz, as octaves go.
    above = coloured(samples, RATE, np.array([0.0, 0.0, 0.0, 6.0, 0.0, 0.0]))
    assert np.std(above) == pytest.approx(10 ** (3 / 20) * np.std(samples), rel=0.01)


def test_the_teacher_hears_the_same_sound_at_its_rate() -> None:
    samples = tone(2.0).astype(np.float32) / 32768
    halved = at_rate(samples, RATE, RATE // 2)
    assert len(halved) == len(samples) // 2
    assert np.abs(halved[200:-200] - samples[400:-400:2]).max() < 1e-3
    assert np.array_equal(at_least(halved[:100], 250), np.concatenate([halved[:100], halved[:100], halved[:50]]))
