"""Mixing: where a sound lies in a scene, how loud, and what is known of each moment of it."""

from __future__ import annotations

import numpy as np
import pytest

from distill.scenes import Canvas, Clip, active_level_db, coloured_noise, merge
from distill.targets import ABSENT, PRESENT, UNKNOWN

RATE = 1000
HOP = 10


def clip(samples: np.ndarray, *present: int) -> Clip:
    """A clip of a sound that is present in the given frames."""
    targets = np.zeros((-(-len(samples) // HOP), 1), dtype=np.int8)
    targets[list(present)] = PRESENT
    return Clip(samples.astype(np.float32), targets, "cough", "own", (True,), marked=True)


def tone(hertz: float, seconds: float = 1.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def test_faster_clip_is_shorter_and_higher_and_its_targets_go_with_it() -> None:
    fast = clip(tone(50.0), *range(40, 60)).at_speed(2.0, HOP)
    assert len(fast.samples) == RATE // 2
    assert np.argmax(np.abs(np.fft.rfft(fast.samples))) * 2 == 100
    assert np.flatnonzero(fast.targets[:, 0] == PRESENT).tolist() == list(range(20, 30))
    assert len(fast.targets) == 50


def test_slower_clip_keeps_a_target_for_each_of_its_moments() -> None:
    slow = clip(tone(50.0), *range(40, 60)).at_speed(0.5, HOP)
    assert (len(slow.samples), len(slow.targets)) == (2 * RATE, 200)
    assert np.flatnonzero(slow.targets[:, 0] == PRESENT).tolist() == list(range(80, 120))


def test_piece_is_cut_and_faded_and_leaves_the_clip_as_it_was() -> None:
    whole = clip(np.ones(RATE), 30, 31)
    piece = whole.piece(30, 50, HOP)
    assert len(piece.samples) == 200
    np.testing.assert_allclose(piece.samples[:HOP], np.linspace(0, 1, HOP), atol=1e-6)
    np.testing.assert_allclose(piece.samples[-HOP:], np.linspace(1, 0, HOP), atol=1e-6)
    assert (piece.samples[HOP:-HOP] == 1).all()
    assert np.flatnonzero(piece.targets[:, 0]).tolist() == [0, 1]
    assert (piece.event, piece.corpus, piece.holds, piece.marked) == ("cough", "own", (True,), True)
    assert (whole.samples == 1).all()


@pytest.mark.parametrize("seconds", [10.0, 0.02])
def test_active_level_is_that_of_the_loud_part(seconds: float) -> None:
    samples = np.zeros(round(seconds * RATE), dtype=np.float32)
    samples[: max(20, len(samples) // 5)] = 0.1
    expected = -20.0 if seconds > 1 else -20.0 + 10 * np.log10(20 / 50)
    assert active_level_db(samples, RATE) == pytest.approx(expected, abs=0.1)


def test_sounds_add_up_at_their_gains_and_moments() -> None:
    canvas = Canvas(10, HOP, 1)
    canvas.place(clip(np.ones(40), 0), 2, -20.0)
    canvas.place(clip(np.ones(40), 3), 4, 0.0)
    expected = np.repeat([0, 0, 0.1, 0.1, 1.1, 1.1, 1, 1, 0, 0], HOP)
    np.testing.assert_allclose(canvas.samples, expected, rtol=1e-6)
    assert np.flatnonzero(canvas.targets[:, 0] == PRESENT).tolist() == [2, 7]


def test_what_overhangs_at_either_end_is_cut() -> None:
    canvas = Canvas(4, HOP, 1)
    canvas.place(clip(np.repeat([1.0, 2.0, 3.0], HOP), 1), -1, 0.0)
    canvas.place(clip(np.repeat([4.0, 5.0], HOP), 0, 1), 3, 0.0)
    np.testing.assert_allclose(canvas.samples, np.repeat([2.0, 3.0, 0.0, 4.0], HOP), rtol=1e-6)
    assert canvas.targets[:, 0].tolist() == [PRESENT, ABSENT, ABSENT, PRESENT]


def test_clip_through_a_channel_keeps_its_targets() -> None:
    canvas = Canvas(2, HOP, 1)
    canvas.place(clip(np.ones(20), 1), 0, 0.0, np.full(20, 0.5, dtype=np.float32))
    assert (canvas.samples == 0.5).all()
    assert canvas.targets[:, 0].tolist() == [ABSENT, PRESENT]


def test_present_beats_unknown_and_unknown_beats_absent() -> None:
    kinds = np.array([PRESENT, UNKNOWN, ABSENT], dtype=np.int8)
    first, second = (grid.reshape(-1, 1) for grid in np.meshgrid(kinds, kinds))
    expected = [PRESENT, PRESENT, PRESENT, PRESENT, UNKNOWN, UNKNOWN, PRESENT, UNKNOWN, ABSENT]
    assert merge(first, second).ravel().tolist() == expected


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_noise_falls_by_its_exponent_and_has_unit_level(exponent: float) -> None:
    noise = coloured_noise(1 << 16, exponent, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    falls = power[2048:4096].mean() / power[16384:32768].mean()
    assert noise.std() == pytest.approx(1.0, abs=1e-3)
    assert np.log2(falls) / 3 == pytest.approx(exponent, abs=0.1)
