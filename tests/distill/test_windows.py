"""Windows cut from scenes: the device's own log-mel, drawn again by a resumed training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from distill.config import TrainSettings
from distill.frontend import LogMel
from distill.pool import ScenePool, compose
from distill.targets import ABSENT, PRESENT
from distill.training import loader
from distill.windows import EpochSampler, WindowDataset, at_gain
from edge.bundle import FrontEnd
from tests.clips import scene_maker

FRONT_END = FrontEnd()
SILENCE = np.log(FRONT_END.log_offset)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> ScenePool:
    folder = tmp_path_factory.mktemp("pool") / "scenes"
    return compose(folder, scene_maker(), FRONT_END, count=8, seed=0, workers=0, origin={})


def test_window_has_the_shape_that_the_student_takes(pool: ScenePool) -> None:
    log_mel, steps = WindowDataset(pool, FRONT_END, 2.0, seed=0)[0]
    assert log_mel.shape == (64, 198)
    assert log_mel.dtype == torch.float32
    assert steps.shape == (50, 3)


def test_window_is_a_function_of_seed_and_number(pool: ScenePool) -> None:
    first, second = WindowDataset(pool, FRONT_END, 2.0, seed=3)[11], WindowDataset(pool, FRONT_END, 2.0, seed=3)[11]
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], WindowDataset(pool, FRONT_END, 2.0, seed=4)[11][0])


def test_windows_hold_every_label_and_nothing_that_is_no_number(pool: ScenePool) -> None:
    windows = [WindowDataset(pool, FRONT_END, 2.0, seed=0)[index] for index in range(64)]
    assert all(torch.isfinite(log_mel).all() for log_mel, _ in windows)
    assert all(any((steps[:, column] == PRESENT).any() for _, steps in windows) for column in range(3))


@pytest.fixture(scope="module")
def loud_in_the_middle() -> WindowDataset:
    """Windows of a scene that is present and loud from its fourth second on for two seconds, and silent otherwise."""
    log_mel, targets = np.full((798, 64), SILENCE, dtype=np.float16), np.zeros((800, 3), dtype=np.int8)
    log_mel[400:600], targets[400:600] = 0.0, PRESENT
    return WindowDataset([(log_mel, targets)], FRONT_END, 2.0, seed=0)  # type: ignore[arg-type]


def test_targets_are_of_the_moments_that_are_heard(loud_in_the_middle: WindowDataset) -> None:
    for index in range(128):
        log_mel, steps = loud_in_the_middle[index]
        loud = (log_mel[0, :196] > SILENCE + 1).reshape(49, 4).sum(dim=1) >= 2
        assert torch.equal(steps[:49, 0] == PRESENT, loud)


def test_some_windows_begin_with_their_scene_and_half_are_at_another_gain() -> None:
    scene = np.full((798, 64), 1.0, dtype=np.float16), np.zeros((800, 3), dtype=np.int8)
    scene[0][0] = 3.0
    dataset = WindowDataset([scene], FRONT_END, 2.0, seed=0)  # type: ignore[arg-type]
    windows = [dataset[index][0] for index in range(200)]
    assert 0.05 < np.mean([bool(log_mel[0, 0] > log_mel[0, 1] + 1) for log_mel in windows]) < 0.2
    assert 0.4 < np.mean([float(log_mel[0, 1]) != 1.0 for log_mel in windows]) < 0.6


def test_some_windows_end_in_digital_silence_and_claim_nothing_there(pool: ScenePool) -> None:
    windows = [WindowDataset(pool, FRONT_END, 2.0, seed=0)[index] for index in range(128)]
    cut = [steps for log_mel, steps in windows if (log_mel[:, -4:] == SILENCE).all() and (log_mel != SILENCE).any()]
    assert cut
    assert all((steps[-1] == ABSENT).all() for steps in cut)


@pytest.mark.parametrize("gain_db", [-10.0, 6.0])
def test_gain_of_a_log_mel_is_that_of_its_sound(gain_db: float) -> None:
    sound = (0.01 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    front_end = LogMel(FRONT_END)

    def log_mel(samples: np.ndarray) -> np.ndarray:
        return front_end(torch.from_numpy(samples[None]))[0].T.numpy()

    louder = log_mel(sound * np.float32(10 ** (gain_db / 20)))
    np.testing.assert_allclose(at_gain(log_mel(sound), gain_db, FRONT_END.log_offset), louder, atol=1e-3)


def test_digital_silence_of_a_scene_stays_silent_at_any_gain() -> None:
    scene = np.full((798, 64), SILENCE, dtype=np.float16), np.zeros((800, 3), dtype=np.int8)
    dataset = WindowDataset([scene], FRONT_END, 2.0, seed=0)  # type: ignore[arg-type]
    for index in range(16):
        np.testing.assert_allclose(dataset[index][0], SILENCE, atol=0.05)


def test_resumed_epoch_draws_the_windows_of_an_uninterrupted_one() -> None:
    straight = EpochSampler(8)
    straight.set_epoch(2)
    assert list(straight) == list(range(16, 24))
    assert len(straight) == 8


def test_loader_of_a_resumed_training_begins_with_the_windows_of_its_epoch(pool: ScenePool, tmp_path: Path) -> None:
    """Lightning starts that loader, whose worker runs ahead, before it tells the epoch."""
    settings = TrainSettings(recordings=tmp_path, output=tmp_path, windows_per_epoch=64, workers=1)
    batch, _ = next(iter(loader(pool, FRONT_END, settings, epochs_before=2)))
    assert torch.equal(batch[0], WindowDataset(pool, FRONT_END, 2.0, seed=0)[128][0])
