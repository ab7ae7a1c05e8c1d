"""Accuracy of candidates against the checkpoint, on tracks made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from align.corpora import Recording
from edge.backends.base import Output
from edge.bundle import Bundle
from quantize.bundling import draft_manifest
from quantize.checkpoint import Checkpoint
from quantize.parity import accuracy, linear_cka, output_error, score_track
from quantize.recordings import LabelledClip


def _clip(number: int, holds: bool | None, people: int = 100) -> LabelledClip:
    recording = Recording(Path(f"{number}.wav"), "own", f"person-{number % people:02}", "test", "airborne", "x")
    return LabelledClip(recording, np.zeros(1, dtype=np.float32), 1.0, (holds,))


def _tracks(*peaks: float) -> list[NDArray[np.float32]]:
    return [np.array([[0.0], [peak], [0.1]], dtype=np.float32) for peak in peaks]


def test_drop_is_the_checkpoints_auroc_less_the_candidates() -> None:
    clips = [_clip(number, number < 4) for number in range(8)]
    before = _tracks(0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1)
    after = _tracks(0.9, 0.8, 0.7, 0.35, 0.4, 0.3, 0.2, 0.1)
    (label,) = accuracy(["cough"], clips, after, before, rounds=100)
    assert (label.positives, label.negatives) == (4, 4)
    assert label.auroc.value == pytest.approx(15 / 16)
    assert label.drop.value == pytest.approx(1 / 16)
    assert label.drop.low <= 1 / 16 <= label.drop.high


def test_clips_without_an_answer_are_left_out() -> None:
    clips = [_clip(0, True), _clip(1, True), _clip(2, True), _clip(3, False), _clip(4, False), _clip(5, None)]
    tracks = _tracks(0.9, 0.8, 0.7, 0.2, 0.1, 1.0)
    (label,) = accuracy(["cough"], clips, tracks, tracks, rounds=100)
    assert (label.positives, label.negatives, label.auroc.value, label.drop.value) == (3, 2, 1.0, 0.0)


def test_intervals_are_over_people_and_not_over_clips() -> None:
    rng = np.random.default_rng(0)
    after, before = rng.random(20).tolist(), rng.random(20).tolist()
    once = [_clip(number, number % 2 == 0, people=20) for number in range(20)]
    often = [_clip(number, number % 2 == 0, people=20) for number in range(100)]
    (of_people,) = accuracy(["cough"], once, _tracks(*after), _tracks(*before), rounds=100)
    (of_clips,) = accuracy(["cough"], often, _tracks(*(5 * after)), _tracks(*(5 * before)), rounds=100)
    assert (of_people.auroc, of_people.drop) == (of_clips.auroc, of_clips.drop)


class _Fixed:
    """Gives each window's first sample as every score and a fixed embedding plus an offset, larger by the second."""

    name = "fixed"

    def __init__(self, offset: float = 0.0) -> None:
        self._offset = offset

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        scores = np.full((25, 3), waveform[0] + self._offset, dtype=np.float32)
        embedding = np.array([3.0 + self._offset * (1 + waveform[1]), 4.0], dtype=np.float32)
        return Output(np.zeros((64, 98), dtype=np.float32), embedding, scores)


def test_output_error_of_the_same_backend_is_none() -> None:
    error = output_error(_Fixed(), _Fixed(), np.zeros((4, 10), dtype=np.float32))
    assert (error.windows, error.max_score, error.max_embedding) == (4, 0.0, 0.0)
    assert error.cosine_min == pytest.approx(1.0)


def test_output_error_has_the_figures_of_a_known_offset() -> None:
    error = output_error(_Fixed(), _Fixed(0.1), np.zeros((4, 10), dtype=np.float32))
    assert error.max_score == pytest.approx(0.1)
    assert error.max_embedding == pytest.approx(0.1, abs=1e-6)
    assert error.sqnr_db == pytest.approx(10 * np.log10(25 / 0.01), abs=1e-3)
    assert error.cosine_mean == pytest.approx((3 * 3.1 + 16) / (5 * np.hypot(3.1, 4)), abs=1e-6)


def test_output_error_tells_the_worst_window() -> None:
    windows = np.zeros((4, 10), dtype=np.float32)
    windows[2, 1] = 9.0
    error = output_error(_Fixed(), _Fixed(0.1), windows)
    assert error.max_embedding == pytest.approx(1.0, abs=1e-6)
    assert error.cosine_min == pytest.approx((3 * 4 + 16) / (5 * np.hypot(4, 4)), abs=1e-6)
    assert error.cosine_min < error.cosine_mean


def test_cka_is_1_for_a_geometry_that_is_turned_scaled_and_moved_and_small_for_another() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 5))
    turn = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert linear_cka(x, 3.0 * x @ turn + 7.0) == pytest.approx(1.0)
    assert linear_cka(x, rng.standard_normal((200, 5))) < 0.1


def test_score_track_covers_a_recording_to_its_last_frame(checkpoint: Checkpoint, tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, draft_manifest("tiny", "0.1.0", checkpoint))
    track = score_track(bundle, _Fixed(), np.full(16_000 * 3 + 4_000, 0.5, dtype=np.float32))
    assert track.shape == (325, 3)
    np.testing.assert_allclose(track, 0.5)
