"""The file that a student leaves is opened by the next stage, and by nothing else's mistake."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from align.tasks import Task
from distill.checkpoint import LabelSpec, StudentError, TaughtStudent, load_student, save_student
from distill.student import Scorer, Student, StudentShape
from edge.manifest import FrontEnd
from quantize.checkpoint import load_checkpoint

MURMUR = Task(name="murmur", column="murmur", positive=("Present",), negative=("Absent",))
FRONT_END = FrontEnd(sample_rate_hz=4000, frame_samples=200, hop_samples=80, mel_bands=32, low_hz=25, high_hz=1000)
DATA = {
    "corpora": [{"name": "circor", "licences": ["ODC-By-1.0"], "recordings": 7}],
    "include_corpora": ["circor"],
    "exclude_corpora": [],
    "validation_share": 0.15,
    "seed": 3,
    "person": "group",
}


@pytest.fixture
def taught() -> TaughtStudent:
    torch.manual_seed(0)
    shape = StudentShape(mel_bands=32, labels=1, width=16, context_blocks=1, form="depthwise", clip_labels=1)
    label = LabelSpec(name="murmur", kind="clip", task=MURMUR, temperature=1.4)
    return TaughtStudent(Student(shape).eval(), (label,), FRONT_END, 8.0, 2.0, DATA, {"teacher": "aligned"})


def scores(student: Student) -> torch.Tensor:
    with torch.inference_mode():
        heard: torch.Tensor = Scorer(student).eval()(torch.linspace(-9, 3, 32 * 397).reshape(1, 32, 397))[1]
    return heard


def test_a_student_survives_its_file(taught: TaughtStudent, tmp_path: Path) -> None:
    save_student(tmp_path / "student.ckpt", taught)
    again = load_student(tmp_path / "student.ckpt")
    assert torch.equal(scores(again.student), scores(taught.student))
    assert (again.labels, again.front_end, again.window_s, again.hop_s) == (taught.labels, FRONT_END, 8.0, 2.0)
    assert (again.data, again.taught_by) == (DATA, {"teacher": "aligned"})


def test_the_export_opens_it_as_a_checkpoint_of_a_training(taught: TaughtStudent, tmp_path: Path) -> None:
    save_student(tmp_path / "student.ckpt", taught)
    opened = load_checkpoint(tmp_path / "student.ckpt")
    assert torch.equal(scores(opened.student), scores(taught.student))
    assert opened.labels == ("murmur",)
    assert opened.front_end == FRONT_END
    assert opened.seed == 3
    assert [corpus.name for corpus in opened.corpora] == ["circor"]


def test_a_label_is_added_and_replaced_by_name(taught: TaughtStudent) -> None:
    size = taught.student.shape.embedding_size
    spec = LabelSpec(name="late", kind="clip", origin="text", positive="Late.", negative="Early.")
    grown = taught.with_label(spec, torch.zeros(size), torch.tensor(0.0))
    heard = scores(grown.student)
    assert [label.name for label in grown.labels] == ["murmur", "late"]
    assert torch.equal(heard[:, :, :1], scores(taught.student))
    assert (heard[:, :, 1] == 0.5).all()
    other = grown.with_label(spec, torch.zeros(size), torch.tensor(50.0))
    assert [label.name for label in other.labels] == ["murmur", "late"]
    assert (scores(other.student)[:, :, 1] > 0.99).all()


def test_a_label_of_steps_is_not_replaced_by_one_of_the_window() -> None:
    shape = StudentShape(labels=1, width=16, context_blocks=1)
    frame = LabelSpec(name="cough", kind="frame")
    heard = TaughtStudent(Student(shape).eval(), (frame,), FrontEnd(), 2.0, 0.5, DATA, {})
    spec = LabelSpec(name="cough", kind="clip", origin="text")
    with pytest.raises(StudentError, match="label cough is of steps"):
        heard.with_label(spec, torch.zeros(128), torch.tensor(0.0))
    both = heard.with_label(spec.model_copy(update={"name": "wet"}), torch.zeros(128), torch.tensor(0.0))
    assert both.student.shape.clip_labels == 1
    with torch.inference_mode():
        heard_scores = Scorer(both.student)(torch.zeros(1, 64, 198))[1]
    assert heard_scores.shape == (1, 50, 2)


@pytest.mark.parametrize("content", ["damaged", "a sound", "other program", "other version", "missing"])
def test_what_is_no_student_is_told_in_one_line(taught: TaughtStudent, tmp_path: Path, content: str) -> None:
    path = tmp_path / "student.ckpt"
    if content == "a sound":  # its first letter means something to what reads checkpoints
        soundfile.write(path, np.zeros(1600), 16_000, format="WAV")
    elif content == "damaged":
        path.write_bytes(b"PK damaged")
    elif content == "other program":
        torch.save({"state_dict": {}, "hyper_parameters": {"shape": asdict(StudentShape())}}, path)
    elif content == "other version":
        given = taught.contents()
        given["hyper_parameters"]["shape"] |= {"width": 32}
        torch.save(given, path)
    with pytest.raises(StudentError, match=r"student\.ckpt: (no|not|does not)") as told:
        load_student(path)
    assert "\n" not in str(told.value)
