from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.level import Level, LevelMeter

RATE_HZ = 8_000


def measure(samples: np.ndarray, sizes: list[int] | None = None) -> Level:
    meter, at, turn = LevelMeter(RATE_HZ), 0, 0
    samples = samples.astype(np.float32)
    while at < len(samples):
        size = sizes[turn % len(sizes)] if sizes else len(samples)
        meter.push(samples[at : at + size])
        at, turn = at + size, turn + 1
    return meter.level()


def sine(amplitude: float, seconds: float) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 100 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)[:, None]


def test_level_of_a_sine_is_3_db_below_that_of_a_square_wave() -> None:
    assert measure(np.tile([[0.5], [-0.5]], (4_000, 1))).level_dbfs == pytest.approx(-6.02, abs=0.01)
    assert measure(sine(0.5, 1.0)).level_dbfs == pytest.approx(-9.03, abs=0.01)


def test_noise_floor_is_what_lies_between_the_sounds() -> None:
    quiet, loud = sine(0.001, 8.0), sine(0.5, 2.0)
    level = measure(np.concatenate([quiet[:32_000], loud, quiet[32_000:]]))
    assert level.noise_floor_dbfs == pytest.approx(-63.01, abs=0.05)
    assert level.level_dbfs == pytest.approx(-9.03 - 6.99, abs=0.05)


def test_digital_silence_is_quiet_and_not_an_error() -> None:
    assert measure(np.zeros((8_000, 2))) == Level(-120.0, -120.0, 0.0)


def test_nothing_heard_has_no_level() -> None:
    assert measure(np.zeros((0, 1))) == Level(None, None, 0.0)


def test_clipped_frames_are_counted_in_any_channel() -> None:
    samples = np.zeros((1_000, 2))
    samples[10:20, 0], samples[15:25, 1] = 32_767 / 32_768, -1.0
    assert measure(samples).clipped == 0.015
    assert measure(0.99 * samples).clipped == 0.0


def test_one_dead_channel_of_two_costs_3_db() -> None:
    both = measure(np.repeat(sine(0.5, 1.0), 2, axis=1)).level_dbfs
    one = measure(np.hstack([sine(0.5, 1.0), np.zeros((8_000, 1))])).level_dbfs
    assert both is not None
    assert one == pytest.approx(both - 3.01, abs=0.01)


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 3_000), min_size=1, max_size=6))
def test_any_chunking_gives_the_same(sizes: list[int]) -> None:
    samples = np.random.default_rng(5).normal(0, 0.3, (9_500, 2))
    whole, parts = measure(samples), measure(samples, sizes)
    assert parts.level_dbfs == pytest.approx(whole.level_dbfs)
    assert parts.noise_floor_dbfs == pytest.approx(whole.noise_floor_dbfs)
    assert parts.clipped == whole.clipped
