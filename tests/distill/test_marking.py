"""An earlier net gives times to recordings that have none, and only to those."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from align.corpora import Recording, read_table
from distill.config import TrainSettings
from distill.marking import fused_track, mark, open_marker
from distill.module import StudentTask
from distill.student import FRAMES_PER_STEP, StudentShape
from distill.training import train
from edge.bundle import FrontEnd
from edge.errors import UserError

LABELS = ("cough", "breath", "speech")
RATE = 16000
DATA = {"seed": 0, "validation_share": 0.3, "exclude_corpora": []}


class LoudnessStudent(nn.Module):
    """Scores a step by its level, so that what it must find is known."""

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        level = log_mel.mean(dim=1)
        level = nn.functional.pad(level, (0, -level.shape[1] % FRAMES_PER_STEP), value=-14.0)
        steps = level.reshape(len(level), -1, FRAMES_PER_STEP).amax(dim=2)
        logits = 3.0 * (steps + 6.0).unsqueeze(2).expand(-1, -1, len(LABELS))
        return steps, logits, torch.full((len(level), len(LABELS)), 9.0)


@pytest.fixture
def marker() -> StudentTask:
    task = StudentTask(
        shape=asdict(StudentShape(width=16, context_blocks=1)),
        labels=LABELS,
        front_end=FrontEnd().model_dump(),
        learning_rate=1e-3,
        window_s=2.0,
        data=DATA,
    )
    task.student = LoudnessStudent()  # type: ignore[assignment]
    return task.eval()


def without_times(rows: list[Recording], keep: int) -> list[Recording]:
    """Only the first `keep` coughs stay marked."""
    coughs = [row for row in rows if row.event == "cough"]
    return [Recording(**{**vars(row), "times_s": ()}) if row in coughs[keep:] else row for row in rows]


def test_event_of_an_unmarked_recording_is_found_where_it_is(tiny_corpus: Path, marker: StudentTask) -> None:
    """Every cough of the corpus begins at 0.5 s and has faded by 0.88 s."""
    rows = without_times(read_table(tiny_corpus), keep=1)
    marked = [row for row in mark(rows, marker) if row.event == "cough" and row.split == "train"]
    assert len(marked) == 12
    assert marked[0].times_s == ((0.5, 0.8),)
    for row in marked[1:]:
        assert len(row.times_s) == 1
        assert row.times_s[0] == (pytest.approx(0.5, abs=0.05), pytest.approx(0.85, abs=0.2))


def test_nothing_else_is_marked(tiny_corpus: Path, marker: StudentTask) -> None:
    """Not what figures are measured on, nor a label of which nobody marked a recording."""
    rows = without_times(read_table(tiny_corpus), keep=1)
    for before, after in zip(rows, mark(rows, marker), strict=True):
        if before.event != "cough" or before.split == "test":
            assert after == before


def test_silent_recording_stays_unmarked(tiny_corpus: Path, marker: StudentTask, tmp_path: Path) -> None:
    rows = without_times(read_table(tiny_corpus), keep=1)
    quiet = Recording(**{**vars(rows[4]), "path": tmp_path / "quiet.flac"})
    soundfile.write(quiet.path, np.zeros(RATE), RATE)
    assert mark([rows[0], quiet], marker)[1].times_s == ()


def test_track_has_a_frame_for_every_hop_of_the_recording(marker: StudentTask) -> None:
    for samples in (1, 16000, 32000, 77777):
        assert fused_track(marker, torch.zeros(samples).numpy()).shape == (-(-samples // 160), len(LABELS))


@pytest.mark.slow
def test_second_training_takes_its_times_from_the_first(tiny_corpus: Path, tmp_path: Path) -> None:
    tiny = {
        "validation_share": 0.3,
        "width": 16,
        "context_blocks": 1,
        "scenes": 16,
        "windows_per_epoch": 64,
        "epochs": 1,
        "workers": 0,
    }
    first = TrainSettings.model_validate({"recordings": tiny_corpus, "output": tmp_path / "first", **tiny})
    checkpoint = train(first)
    second = first.model_copy(update={"output": tmp_path / "second", "marks_from": checkpoint})
    assert train(second).is_file()
    heard_others = second.model_copy(update={"validation_share": 0.4, "output": tmp_path / "third"})
    with pytest.raises(UserError, match=r"trained with validation_share = 0.3, this training has 0.4"):
        train(heard_others)


def test_marker_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such checkpoint"):
        open_marker(tmp_path / "gone.ckpt", DATA, LABELS)
    (tmp_path / "noise.ckpt").write_bytes(b"noise")
    with pytest.raises(UserError, match=r"noise.ckpt: not a checkpoint of distill.train"):
        open_marker(tmp_path / "noise.ckpt", DATA, LABELS)
