"""Scenes: where sounds land, what is known of them, and that they can be drawn again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from align.corpora import CorpusError, Recording
from distill.data import SceneMaker, distractor, load_clips
from distill.scenes import Canvas, active_level_db, coloured_noise, merge
from distill.targets import ABSENT, PRESENT, UNKNOWN
from tests.clips import HOP, RATE, clip, scene_maker


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


def test_scenes_hold_every_label_at_many_levels_and_never_clip_to_nan() -> None:
    maker = scene_maker()
    scenes = [maker.scene(np.random.default_rng(index)) for index in range(24)]
    assert all(np.isfinite(scene.samples).all() for scene in scenes)
    assert all(any((scene.targets[:, column] == PRESENT).any() for scene in scenes) for column in range(3))
    peaks = np.array([np.abs(scene.samples).max() for scene in scenes])
    assert peaks.max() <= 1.0 + 1e-6
    assert peaks.min() < 0.1 < peaks.max()


def test_a_few_coughs_cut_out_of_a_recording_keep_their_ends() -> None:
    """The end of a marked cough is unknown to training, but it sounds."""
    cough = clip("cough", 400, 0, marked=True)
    cough.targets[200:300, 0] = UNKNOWN
    made = SceneMaker([cough], RATE, 3)
    pieces = [made._cut(cough, np.random.default_rng(seed)) for seed in range(20)]
    cut = [piece for piece in pieces if len(piece.targets) < 400]
    assert cut
    assert all((piece.targets[:, 0] == UNKNOWN).sum() == 100 for piece in cut)


def test_marks_past_the_end_of_a_recording_are_told_in_one_line(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(RATE), RATE)
    row = Recording(tmp_path / "short.wav", "home", "ann", "train", "airborne", "cough", ((5.0, 5.3),))
    with pytest.raises(CorpusError, match=r"short.wav: its marked times lie past its end"):
        load_clips([row], RATE, ("cough",))


def test_corpus_without_recorded_ambience_is_laid_over_noise() -> None:
    alone = SceneMaker([clip("cough", 120, 0, marked=True)], RATE, 3)
    for seed in range(8):
        scene = alone.scene(np.random.default_rng(seed))
        assert np.isfinite(scene.samples).all()
        assert scene.samples.any()


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
