"""Scenes: where sounds land, what is known of them, and that they can be drawn again."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.data import EpochSampler, SceneDataset, SceneMaker, distractor, join_scenes
from distill.scenes import Canvas, Clip, active_level_db, coloured_noise, merge
from distill.targets import ABSENT, PRESENT, UNKNOWN

RATE, HOP = 16000, 160


def clip(event: str, frames: int, column: int | None = None, corpus: str = "home", marked: bool = False) -> Clip:
    rng = np.random.default_rng(frames)
    targets = np.zeros((frames, 3), dtype=np.int8)
    if column is not None:
        targets[frames // 4 : frames // 2, column] = PRESENT
    return Clip((0.1 * rng.standard_normal(frames * HOP)).astype(np.float32), targets, event, corpus, marked=marked)


@pytest.fixture
def maker() -> SceneMaker:
    clips = [
        clip("cough", 120, 0, marked=True),
        clip("cough", 1200, 0, marked=True),
        clip("breath", 300, 1),
        clip("speech", 90, 2),
        clip("sneezing", 100),
        clip("non_cough", 900),
        clip("rain", 500),
        clip("dog", 80),
    ]
    return SceneMaker(clips, RATE, 3)


def test_placed_clip_sounds_where_its_targets_say() -> None:
    canvas = Canvas(200, HOP, 3)
    cough = clip("cough", 40, 0)
    canvas.place(cough, 100, gain_db=20.0)
    assert np.flatnonzero(canvas.samples)[0] // HOP == 100
    assert np.flatnonzero(canvas.targets[:, 0]).tolist() == list(range(110, 120))
    np.testing.assert_allclose(canvas.samples[100 * HOP : 140 * HOP], 10 * cough.samples, rtol=1e-5)


@pytest.mark.parametrize("first", [-20, 180])
def test_overhanging_clip_is_cut_with_its_targets(first: int) -> None:
    canvas = Canvas(200, HOP, 3)
    cough = clip("cough", 40, 0)
    canvas.place(cough, first, gain_db=0.0)
    begin, end = max(0, -first), min(40, 200 - first)
    start = max(0, first)
    np.testing.assert_array_equal(
        canvas.samples[start * HOP : (start + end - begin) * HOP], cough.samples[begin * HOP : end * HOP]
    )
    np.testing.assert_array_equal(canvas.targets[start : start + end - begin], cough.targets[begin:end])


def test_mixture_is_present_before_unknown_before_absent() -> None:
    values = np.array([PRESENT, UNKNOWN, ABSENT], dtype=np.int8)
    first, second = (grid.reshape(-1, 1) for grid in np.meshgrid(values, values))
    joined = merge(first, second).ravel().tolist()
    assert joined == [1, 1, 1, 1, -1, -1, 1, -1, 0]


def test_scene_is_a_function_of_seed_and_index(maker: SceneMaker) -> None:
    first, second = SceneDataset(maker, 2.0, seed=3)[11], SceneDataset(maker, 2.0, seed=3)[11]
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], SceneDataset(maker, 2.0, seed=4)[11][0])


def test_scenes_hold_every_label_at_many_levels_and_never_clip_to_nan(maker: SceneMaker) -> None:
    dataset = SceneDataset(maker, 2.0, seed=0)
    waves, steps = join_scenes([dataset[index] for index in range(24)])
    assert waves.shape == (96, 32000)
    assert steps.shape == (96, 50, 3)
    assert torch.isfinite(waves).all()
    assert waves.abs().max() <= 1.0 + 1e-6
    assert all((steps[:, :, column] == PRESENT).any() for column in range(3))
    peaks = waves.abs().amax(dim=1)
    assert peaks[peaks > 0].min() < 0.1 < peaks.max()


def test_corpus_without_recorded_ambience_is_laid_over_noise() -> None:
    alone = SceneMaker([clip("cough", 120, 0, marked=True)], RATE, 3)
    for seed in range(8):
        scene = alone.scene(np.random.default_rng(seed))
        assert np.isfinite(scene.samples).all()
        assert scene.samples.any()


def test_some_windows_end_in_digital_silence_and_claim_nothing_there(maker: SceneMaker) -> None:
    dataset = SceneDataset(maker, 2.0, seed=0)
    waves, steps = join_scenes([dataset[index] for index in range(24)])
    cut = [index for index in range(len(waves)) if (waves[index, -640:] == 0).all() and (waves[index] != 0).any()]
    assert cut
    assert all((steps[index, -1] == ABSENT).all() for index in cut)


def test_resumed_epoch_draws_the_scenes_of_an_uninterrupted_one() -> None:
    straight = EpochSampler(8)
    straight.set_epoch(2)
    assert list(straight) == list(range(16, 24))
    assert len(straight) == 8


def test_distractor_is_no_label() -> None:
    for seed in range(12):
        sound = distractor(RATE, 3, np.random.default_rng(seed))
        assert np.isfinite(sound.samples).all()
        assert not sound.targets.any()
        assert len(sound.targets) == -(-len(sound.samples) // HOP)


def test_active_level_ignores_silence_around_a_sound() -> None:
    tone = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE).astype(np.float32)
    padded = np.concatenate([tone, np.zeros(3 * RATE, dtype=np.float32)])
    assert active_level_db(padded, RATE) == pytest.approx(-3.0, abs=0.2)


@pytest.mark.parametrize(("exponent", "slope_db"), [(0.0, 0.0), (1.0, -3.0), (2.0, -6.0)])
def test_coloured_noise_falls_as_its_exponent_says(exponent: float, slope_db: float) -> None:
    noise = coloured_noise(1 << 18, exponent, np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    octave = [power[len(power) >> shift : len(power) >> (shift - 1)].mean() for shift in (3, 2)]
    assert 10 * np.log10(octave[1] / octave[0]) == pytest.approx(slope_db, abs=0.5)
