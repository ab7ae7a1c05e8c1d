"""Recorded time and drift, by simulated cards on a simulated machine."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.cardclock import CREEP, CardClock

BLOCK_S = 0.5


def run(clock: CardClock, hours: float, drift_ppm: float, *, seed: int = 0, start_s: float = 0.0, at_s: float = 0.0):
    """Blocks of a card that is so much too fast, each late by some milliseconds and now and then by a second."""
    random = np.random.default_rng(seed)
    ends = start_s + BLOCK_S * np.arange(1, round(hours * 3600 / BLOCK_S))
    recorded = at_s + (ends - start_s) / (1 + drift_ppm * 1e-6)
    late = random.exponential(0.004, len(ends)) + (random.random(len(ends)) < 0.02) * random.random(len(ends))
    arrived = np.maximum.accumulate(recorded + late)
    for end, arrival in zip(ends.tolist(), arrived.tolist(), strict=True):
        clock.note(end, arrival)
    return float(ends[-1]), float(recorded[-1])


@pytest.mark.parametrize("drift_ppm", [-120.0, 0.0, 35.0, 300.0])
def test_drift_is_found_and_recorded_time_is_true_in_spite_of_late_blocks(drift_ppm: float) -> None:
    clock = CardClock(0.0, is_live=True)
    end_s, recorded_s = run(clock, 3.0, drift_ppm)
    assert clock.drift_ppm == pytest.approx(drift_ppm, abs=1.0)
    assert clock.recorded_s(end_s) == pytest.approx(recorded_s, abs=0.005)
    # 60 s back, as an event that has waited for its windows.
    assert clock.recorded_s(end_s - 60) == pytest.approx(recorded_s - 60 / (1 + drift_ppm * 1e-6), abs=0.005)


def test_drift_is_not_told_before_it_can_be_known() -> None:
    clock = CardClock(0.0, is_live=True)
    run(clock, 5 / 60, 50.0)
    assert clock.drift_ppm is None


def test_card_that_runs_differently_in_the_morning_is_followed() -> None:
    clock = CardClock(0.0, is_live=True)
    end_s, recorded_s = run(clock, 3.0, 40.0)
    end_s, recorded_s = run(clock, 3.0, -20.0, seed=1, start_s=end_s, at_s=recorded_s)
    assert clock.drift_ppm == pytest.approx(-20.0, abs=1.0)
    assert clock.recorded_s(end_s) == pytest.approx(recorded_s, abs=0.005)


def test_gap_begins_a_new_line_at_its_place_and_keeps_the_drift() -> None:
    clock = CardClock(0.0, is_live=True)
    end_s, recorded_s = run(clock, 1.0, 80.0)
    known_ppm = clock.drift_ppm
    clock.note(end_s + 7_200, recorded_s + 7_300, after_gap=True)
    assert clock.recorded_s(end_s + 7_200) == recorded_s + 7_300
    assert clock.drift_ppm == known_ppm


def test_sample_zero_counts_as_recorded_at_the_start_until_there_is_a_block() -> None:
    clock = CardClock(100.0, is_live=True)
    assert clock.recorded_s(2.5) == 102.5
    clock.note(0.5, 200.0)
    assert clock.recorded_s(0.0) == 199.5


BLOCKS = st.lists(st.tuples(st.floats(0.01, 5.0), st.floats(-30.0, 30.0)), min_size=2, max_size=80)


@settings(max_examples=50, deadline=None)
@given(BLOCKS)
def test_live_sound_is_never_recorded_after_it_arrived_and_a_late_block_moves_little(
    blocks: list[tuple[float, float]],
) -> None:
    clock, end_s, before_s = CardClock(0.0, is_live=True), 0.0, -np.inf
    for length_s, late_s in blocks:
        end_s += length_s
        clock.note(end_s, end_s + late_s)
        recorded_s = clock.recorded_s(end_s)
        assert recorded_s <= end_s + late_s + 1e-9
        assert before_s == -np.inf or recorded_s <= before_s + length_s * (1 + CREEP) + 1e-9
        before_s = recorded_s


@settings(max_examples=50, deadline=None)
@given(BLOCKS)
def test_pipe_however_it_is_filled_goes_on_at_the_pace_of_its_samples(blocks: list[tuple[float, float]]) -> None:
    clock, end_s, told = CardClock(0.0, is_live=False), 0.0, []
    for length_s, late_s in blocks:
        end_s += length_s
        clock.note(end_s, end_s + late_s)
        told.append((end_s, clock.recorded_s(end_s)))
    for (end_a, at_a), (end_b, at_b) in pairwise(told):
        assert at_b - at_a == pytest.approx(end_b - end_a, abs=(CREEP + 1e-4) * (end_b - end_a) + 1e-9)


def test_pipe_that_is_filled_at_once_is_spread_over_its_own_length() -> None:
    clock = CardClock(0.0, is_live=False)
    for number in range(1, 7201):  # an hour in 36 seconds
        clock.note(0.5 * number, 0.005 * number)
    assert clock.recorded_s(3600.0) - clock.recorded_s(0.0) == pytest.approx(3600.0, abs=3600.0 * CREEP)
    assert clock.drift_ppm is None


def test_stream_that_begins_with_ten_seconds_that_its_server_had_kept_has_its_true_times() -> None:
    clock = CardClock(0.0, is_live=True)
    for number in range(1, 21):
        clock.note(0.5 * number, 100.0 + 0.01 * number)
    for number in range(21, 60):
        clock.note(0.5 * number, 100.2 + 0.5 * (number - 20))
    assert clock.recorded_s(10.0) == pytest.approx(100.2, abs=0.01)
