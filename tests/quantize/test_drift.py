"""The reference for drift: from windows with sound in them, with a threshold that tells other sound from their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.backends.base import Output
from quantize.drift import FEWEST_ACTIVE, drift_reference, write_drift

SIZE = 12


def training(count: int, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings with correlated dimensions, and scores of which all say that there is sound."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(SIZE, SIZE))
    embeddings = (rng.normal(size=(count, SIZE)) @ mixing + 3).astype(np.float32)
    return embeddings, np.full((count, 50, 2), 0.9, np.float32)


def test_unseen_windows_of_the_same_kind_are_near_and_others_far() -> None:
    reference = drift_reference(*training(300))
    assert reference is not None
    same, _ = training(100, seed=1)
    assert reference.distance(same) < 0.5 * reference.threshold
    assert reference.distance(same + 3 * same.std(axis=0)) > reference.threshold


def test_few_sets_of_unseen_windows_exceed_the_threshold_and_a_window_lies_one_deviation_out() -> None:
    reference = drift_reference(*training(100))
    assert reference is not None
    unseen, _ = training(4000, seed=1)
    far = [reference.distance(unseen[first : first + 4]) > reference.threshold for first in range(0, 4000, 4)]
    assert np.mean(far) < 0.05
    assert np.mean([reference.distance(one[np.newaxis]) ** 2 for one in unseen[:500]]) == pytest.approx(1.0, rel=0.2)


def test_windows_without_sound_are_left_out() -> None:
    embeddings, scores = training(200)
    expected = drift_reference(embeddings, scores)
    silent = np.full((200, 50, 2), 0.1, np.float32)
    mixed = drift_reference(np.concatenate([embeddings, embeddings * 0 + 50]), np.concatenate([scores, silent]))
    assert expected is not None
    assert mixed is not None
    np.testing.assert_array_equal(mixed.mean, expected.mean)
    assert mixed.threshold == expected.threshold


def test_too_few_windows_with_sound_give_no_reference() -> None:
    assert drift_reference(*training(FEWEST_ACTIVE - 1)) is None


class _Backend:
    """Hears in a window its first samples."""

    name = "first"

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        scores = np.full((50, 2), waveform[-1], np.float32)
        return Output(np.zeros((64, 198), np.float32), waveform[:SIZE], scores)


def test_file_is_the_same_every_time_and_missing_where_there_is_no_reference(tmp_path: Path) -> None:
    embeddings, _ = training(100)
    windows = np.concatenate([embeddings, np.ones((100, 1), np.float32)], axis=1)
    assert write_drift(tmp_path / "a.npz", windows, _Backend()) is not None
    assert write_drift(tmp_path / "b.npz", windows, _Backend()) is not None
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    windows[:, -1] = 0
    assert write_drift(tmp_path / "none.npz", windows, _Backend()) is None
    assert not (tmp_path / "none.npz").exists()
