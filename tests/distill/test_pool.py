"""Scenes on disk: the same as composed, found again after a stop, and never those of another training."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.frontend import LogMel
from distill.pool import ScenePool, compose
from distill.scenes import Canvas
from edge.bundle import FrontEnd
from edge.errors import UserError
from tests.clips import scene_maker
from tests.outboxes import disk_without_room

FRONT_END = FrontEnd()


class CountingMaker:
    """Draws scenes and counts them."""

    def __init__(self) -> None:
        self.maker, self.drawn = scene_maker(), 0

    def scene(self, rng: np.random.Generator) -> Canvas:
        self.drawn += 1
        return self.maker.scene(rng)


def fill(
    folder: Path, maker: CountingMaker, count: int = 3, *, seed: int = 5, people: str = "ann", low_hz: float = 50.0
) -> ScenePool:
    origin, front_end = {"recordings": [people]}, FRONT_END.model_copy(update={"low_hz": low_hz})
    return compose(folder, maker, front_end, count=count, seed=seed, workers=0, origin=origin)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distill.pool.SCENES_PER_SHARD", 2)


def test_pool_holds_the_log_mel_and_the_targets_of_the_scenes_of_its_seed(tmp_path: Path) -> None:
    pool = fill(tmp_path / "scenes", CountingMaker())
    assert len(pool) == 3
    for index in range(3):
        scene = scene_maker().scene(np.random.default_rng([5, index]))
        log_mel, targets = pool[index]
        expected = LogMel(FRONT_END)(torch.from_numpy(scene.samples[None]))[0].T.numpy()
        np.testing.assert_allclose(log_mel.astype(np.float32), expected, atol=0.01)
        np.testing.assert_array_equal(targets, scene.targets)


def test_finished_shards_are_not_composed_again_and_missing_ones_are(tmp_path: Path) -> None:
    first, second = CountingMaker(), CountingMaker()
    whole = [np.array(targets) for _, targets in (fill(tmp_path / "scenes", first, 4)[i] for i in range(4))]
    (tmp_path / "scenes" / "targets-00001.npy").unlink()
    again = fill(tmp_path / "scenes", second, 4)
    assert (first.drawn, second.drawn) == (4, 2)
    for index in range(4):
        np.testing.assert_array_equal(again[index][1], whole[index])


@pytest.mark.parametrize("change", [{"seed": 6}, {"people": "ben"}, {"count": 3}, {"low_hz": 60.0}])
def test_scenes_of_another_origin_are_composed_anew(tmp_path: Path, change: dict[str, int | str | float]) -> None:
    fill(tmp_path / "scenes", CountingMaker(), 4)
    maker = CountingMaker()
    fill(tmp_path / "scenes", maker, **{"count": 4, **change})  # type: ignore[arg-type]
    assert maker.drawn == change.get("count", 4)


def test_folder_that_holds_something_else_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="holds something else than scenes"):
        fill(tmp_path, CountingMaker())
    assert (tmp_path / "mine.txt").read_text() == "keep"


def test_process_that_is_not_forked_opens_the_pool_itself(tmp_path: Path) -> None:
    pool = fill(tmp_path / "scenes", CountingMaker())
    sent = pickle.dumps(pool)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent)[2][0], pool[2][0])  # noqa: S301 - its own bytes


def test_worker_processes_compose_what_one_process_composes(tmp_path: Path) -> None:
    here = fill(tmp_path / "here", CountingMaker(), 4)
    options = {"count": 4, "seed": 5, "workers": 2, "origin": {}}
    there = compose(tmp_path / "there", scene_maker(), FRONT_END, **options)  # type: ignore[arg-type]
    for index in range(4):
        np.testing.assert_array_equal(here[index][0], there[index][0])


@pytest.mark.parametrize("workers", [0, 1])
def test_full_disk_is_told_in_one_line(tmp_path: Path, workers: int) -> None:
    folder = tmp_path / "scenes"
    options = {"count": 4, "seed": 0, "workers": workers, "origin": {}}
    compose(folder, scene_maker(), FRONT_END, **options)  # type: ignore[arg-type]
    (folder / "targets-00001.npy").unlink()
    with disk_without_room(), pytest.raises(UserError, match=r"cannot be written \([^N].*free some space"):
        compose(folder, scene_maker(), FRONT_END, **options)  # type: ignore[arg-type]
    assert not list(folder.glob("*.part"))
    assert len(compose(folder, scene_maker(), FRONT_END, **options)) == 4  # type: ignore[arg-type]


def test_scene_past_the_end_is_an_index_error(tmp_path: Path) -> None:
    with pytest.raises(IndexError):
        fill(tmp_path / "scenes", CountingMaker())[3]
