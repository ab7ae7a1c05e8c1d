"""Breathing rate of synthesised breaths: which octave, when none, and that chunks do not show."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.respiration import (
    BANDS,
    HOP_S,
    SCORE,
    STEPS_PER_S,
    WINDOW_S,
    BandLevels,
    Reading,
    RespirationMeter,
    ScoreLevels,
    analyse,
    estimate,
)

RATE_HZ = 4000


def breaths(bpm: float, seconds: float, *, exhale: float, dull: bool = False) -> NDArray[np.float32]:
    """Noise that swells as somebody draws breath, and `exhale` times as loud (and duller) as they let it go."""
    random = np.random.default_rng(round(bpm * 10))
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = (time * bpm / 60) % 1.0
    noise = random.standard_normal(len(time))
    low = np.convolve(noise, np.ones(8) / 8, mode="same") * 2 if dull else noise
    drawn = np.where(phase < 0.4, np.sin(np.pi * phase / 0.4), 0.0)
    let_go = np.where((phase >= 0.45) & (phase < 0.9), np.sin(np.pi * (phase - 0.45) / 0.45), 0.0)
    sound = noise * drawn + exhale * low * let_go + 0.03 * random.standard_normal(len(time))
    return np.asarray(0.1 * sound, dtype=np.float32)


@pytest.mark.parametrize("bpm", [6.0, 9.0, 14.0, 20.0, 28.0, 36.0])
def test_rate_of_breaths_drawn_louder_than_let_go(bpm: float) -> None:
    found = estimate(BandLevels(RATE_HZ).push(breaths(bpm, WINDOW_S, exhale=0.3)), BANDS)
    assert found.rate_bpm == pytest.approx(bpm, abs=0.5)
    assert found.quality >= 0.4


@pytest.mark.parametrize("bpm", [6.0, 8.0, 12.0, 18.0])
def test_in_and_out_as_loud_but_of_another_timbre_are_one_breath(bpm: float) -> None:
    found = estimate(BandLevels(RATE_HZ).push(breaths(bpm, WINDOW_S, exhale=1.0, dull=True)), BANDS)
    assert found.rate_bpm == pytest.approx(bpm, abs=0.5)


@pytest.mark.parametrize("bpm", [6.0, 10.0, 16.0])
def test_in_and_out_nearly_alike_are_one_breath(bpm: float) -> None:
    """The strongest period is half a breath here; that every other sound is a little softer tells."""
    sound = BandLevels(RATE_HZ).push(breaths(bpm, WINDOW_S, exhale=0.8))
    strongest = analyse(sound, BANDS)
    assert strongest is not None
    assert strongest.rate_bpm == pytest.approx(2 * bpm, abs=0.5)
    assert estimate(sound, BANDS).rate_bpm == pytest.approx(bpm, abs=0.5)


def test_knocks_do_not_change_the_rate() -> None:
    sound = breaths(15.0, WINDOW_S, exhale=0.3)
    for at in np.random.default_rng(3).integers(0, len(sound) - 400, size=6):
        sound[at : at + 400] = np.random.default_rng(int(at)).uniform(-1, 1, 400)
    assert estimate(BandLevels(RATE_HZ).push(sound), BANDS).rate_bpm == pytest.approx(15.0, abs=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_steady_noise_has_no_rate(seed: int) -> None:
    noise = 0.1 * np.random.default_rng(seed).standard_normal(WINDOW_S * RATE_HZ)
    assert estimate(BandLevels(RATE_HZ).push(noise.astype(np.float32)), BANDS).rate_bpm is None


def test_silence_has_no_rate_and_no_quality() -> None:
    found = estimate(BandLevels(RATE_HZ).push(np.zeros(WINDOW_S * RATE_HZ, np.float32)), BANDS)
    assert (found.rate_bpm, found.quality) == (None, 0.0)


def test_rate_of_a_breath_score() -> None:
    frames = np.arange(WINDOW_S * 100) / 100
    scores = np.where((frames * 14 / 60) % 1.0 < 0.35, 0.9, 0.05).astype(np.float32)
    found = estimate(ScoreLevels(100).push(scores), SCORE)
    assert found.rate_bpm == pytest.approx(14.0, abs=0.5)


def test_breath_score_that_hardly_moves_has_no_rate() -> None:
    frames = np.arange(WINDOW_S * 100) / 100
    scores = (0.05 + 0.04 * np.sin(2 * np.pi * frames * 14 / 60)).astype(np.float32)
    assert estimate(ScoreLevels(100).push(scores), SCORE).rate_bpm is None


def readings(sound: NDArray[np.float32], cuts: list[int]) -> list[Reading]:
    levels, meter = BandLevels(RATE_HZ), RespirationMeter(BANDS)
    return [reading for part in np.split(sound, cuts) for reading in meter.push(levels.push(part))]


SOUND = np.concatenate([breaths(12.0, 45, exhale=0.4), breaths(20.0, 14.9, exhale=0.4)])
WHOLE = readings(SOUND, [])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, len(SOUND)), max_size=40).map(sorted))
def test_readings_do_not_depend_on_chunks(cuts: list[int]) -> None:
    assert readings(SOUND, cuts) == WHOLE


def test_readings_come_every_hop_once_a_window_is_full() -> None:
    assert [reading.end_s for reading in WHOLE] == [WINDOW_S, WINDOW_S + HOP_S, WINDOW_S + 2 * HOP_S]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 1000), max_size=30).map(sorted))
def test_score_rows_do_not_depend_on_chunks(cuts: list[int]) -> None:
    scores = np.random.default_rng(0).random(1000, dtype=np.float32)
    whole, levels = ScoreLevels(100).push(scores), ScoreLevels(100)
    parts = np.concatenate([levels.push(part) for part in np.split(scores, cuts)])
    assert len(whole) == 10 * STEPS_PER_S
    assert np.array_equal(parts, whole)


@pytest.mark.parametrize("rate_hz", [1000, 4001])
def test_sample_rate_that_has_no_breath_bands_is_refused(rate_hz: int) -> None:
    with pytest.raises(ValueError, match=str(rate_hz)):
        BandLevels(rate_hz)


def test_frames_that_do_not_divide_into_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="33"):
        ScoreLevels(33)
