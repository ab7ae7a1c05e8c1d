"""The teaching program: what it leaves, that it resumes, what it refuses, and how fast it says so."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from align.corpora import CorpusError
from distill.checkpoint import NAME, load_student
from distill.course import teach
from edge.errors import ConfigError, UserError
from tests.aligning import MURMUR, Aligned
from tests.kills import stopped_after_writing
from tests.teaching import FRONT_END, TEXT_LABEL, given, settings

ROOT = Path(__file__).parents[2]


def flags_of(values: dict[str, Any], prefix: str = "") -> list[str]:
    flags = []
    for name, value in values.items():
        if isinstance(value, dict):
            flags += flags_of(value, f"{prefix}{name}.")
        elif name != "tasks":
            flags.append(f"--{prefix}{name}={value}")
    return flags


def run(*flags: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distill.teach", *flags]
    variables = os.environ | (environment or {})
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)


def test_teaching_leaves_a_student_that_says_what_was_asked(taught: Path) -> None:
    student = load_student(taught / NAME)
    assert [(label.name, label.origin) for label in student.labels] == [("murmur", "taught"), ("loud", "text")]
    assert student.labels[1].positive == TEXT_LABEL["positive"]
    assert student.text is not None
    assert student.text["prompts"].shape == (1, 32)
    embedding, steps, logits = student.student(torch.zeros(1, 32, 98))
    assert (embedding.shape, steps.shape, logits.shape) == ((1, 32), (1, 25, 0), (1, 2))
    assert [corpus["name"] for corpus in student.data["corpora"]] == ["synthetic"]
    assert student.taught_by["parameters"] > 0


def test_teaching_leaves_figures_and_curves(taught: Path) -> None:
    figures = json.loads((taught / "metrics.json").read_text())
    assert {"validation/cosine", "fitted/auroc_murmur", "text_agreement"} <= figures.keys()
    assert (taught / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    with (taught / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(np.isfinite(float(row["train/loss"])) for row in rows)


def test_repeating_a_finished_teaching_leaves_it_alone(taught: Path, hearts: Aligned) -> None:
    before = {path: path.read_bytes() for path in taught.iterdir() if path.is_file()}
    teach(settings(hearts, taught, text_labels=[TEXT_LABEL]))
    assert {path: path.read_bytes() for path in taught.iterdir() if path.is_file()} == before


def test_same_seed_gives_the_same_student(hearts: Aligned, tmp_path: Path) -> None:
    paths = [teach(settings(hearts, tmp_path / name, epochs=1)) for name in "ab"]
    first, second = (load_student(path).student.state_dict() for path in paths)
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_teaching_that_ended_before_its_heads_is_finished(taught: Path, hearts: Aligned, tmp_path: Path) -> None:
    """Nothing is trained again: the weights are those of the finished one."""
    shutil.copytree(taught, tmp_path / "run")
    (tmp_path / "run" / NAME).unlink()
    views = {"count": 2, "cache": taught.parent / "views"}
    again = teach(settings(hearts, tmp_path / "run", text_labels=[TEXT_LABEL], views=views))
    first, second = (load_student(path).student.state_dict() for path in (taught / NAME, again))
    assert all(torch.allclose(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("epochs", [2, 3])
def test_checkpoint_of_another_architecture_is_not_gone_on_from(
    taught: Path, hearts: Aligned, tmp_path: Path, epochs: int
) -> None:
    """Neither to train on from it, nor where the training has ended and the heads alone are to be fitted."""
    checkpoint = torch.load(taught / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["projector.bias"] = torch.zeros(5)
    (tmp_path / "run").mkdir()
    torch.save(checkpoint, tmp_path / "run" / "last.ckpt")
    views = {"count": 2, "cache": taught.parent / "views"}
    with pytest.raises(UserError, match=r"another architecture: projector\.bias .* remove it"):
        teach(settings(hearts, tmp_path / "run", epochs=epochs, views=views))


@pytest.mark.slow
def test_killed_teaching_goes_on_where_it_was(hearts: Aligned, tmp_path: Path) -> None:
    values = given(hearts, tmp_path / "run", epochs=3)
    config = tmp_path / "tasks.toml"
    config.write_text('[[tasks]]\nname = "murmur"\ncolumn = "murmur"\npositive = ["Present"]\nnegative = ["Absent"]\n')
    flags = [f"--config={config}", *flags_of(values)]
    stopped_after_writing("last.ckpt", "distill.teach", *flags)
    assert torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["epoch"] == 0
    finished = run(*flags)
    assert finished.returncode == 0, finished.stderr
    assert f"student: {tmp_path / 'run' / NAME}" in finished.stdout
    assert "teacher:" not in finished.stderr, "the teacher was asked again"
    with (tmp_path / "run" / "metrics.csv").open() as stream:
        assert [int(row["epoch"]) for row in csv.DictReader(stream)] == [0, 1, 2]


def test_a_teaching_is_not_resumed_under_other_settings(taught: Path, hearts: Aligned) -> None:
    with pytest.raises(UserError, match="a training with another seed"):
        teach(settings(hearts, taught, text_labels=[TEXT_LABEL], seed=1))


def test_a_plain_encoder_teaches_too(hearts: Aligned, tmp_path: Path) -> None:
    teacher = {"encoder": "scratch-conv", "sample_rate_hz": 2000, "clip_s": 2.0}
    student = load_student(teach(settings(hearts, tmp_path / "run", teacher=teacher, epochs=1)))
    assert student.text is None
    assert student.taught_by["teacher"] == "scratch-conv"


def test_last_epochs_in_int8_leave_plain_weights(hearts: Aligned, tmp_path: Path) -> None:
    """Four epochs of three batches: eight set the ranges, four are heard in INT8."""
    paths = [teach(settings(hearts, tmp_path / str(last), epochs=5, quantise_epochs=last)) for last in (0, 4)]
    plain, aware = (load_student(path).student.state_dict() for path in paths)
    assert plain.keys() == aware.keys()
    assert any(not torch.equal(value, aware[name]) for name, value in plain.items())
    kept = torch.load(tmp_path / "4" / "last.ckpt", weights_only=True)["current_model_state"]
    assert (kept["quantised.ranges"] > 0).all()


def test_events_in_time_become_labels_of_steps(tiny_corpus: Path, hearts: Aligned, tmp_path: Path) -> None:
    """A plain encoder at 16 kHz teaches a detector; a question about the whole clip goes with it."""
    path = teach(
        settings(
            hearts,
            tmp_path / "run",
            recordings=tiny_corpus,
            teacher={"encoder": "scratch-conv", "sample_rate_hz": 16000, "clip_s": 2.0},
            front_end={},
            events=["cough", "breath"],
            tasks=[{"name": "animal", "column": "event", "positive": ["dog"], "unit": "recording"}],
            epochs=1,
        )
    )
    student = load_student(path)
    assert [(label.name, label.kind) for label in student.labels] == [
        ("cough", "frame"),
        ("breath", "frame"),
        ("animal", "clip"),
    ]
    _, steps, window = student.student(torch.zeros(1, 64, 198))
    assert (steps.shape, window.shape) == ((1, 50, 2), (1, 3))
    assert "validation/auroc_cough" in json.loads((path.parent / "metrics.json").read_text())


def test_texts_alone_are_enough_to_say_something(hearts: Aligned, tmp_path: Path) -> None:
    label = {name: text for name, text in TEXT_LABEL.items() if name != "like"}
    path = teach(settings(hearts, tmp_path / "run", tasks=[], text_labels=[label], epochs=1))
    assert [label.name for label in load_student(path).labels] == ["loud"]


def test_a_task_with_too_few_people_is_told_by_its_name(hearts: Aligned, tmp_path: Path) -> None:
    task = {**MURMUR, "name": "loud", "column": "systolic_grading", "positive": ["IX/VI"], "negative": ["III/VI"]}
    with pytest.raises(CorpusError, match=r"task loud: a probe needs 5 training people whose answer is yes"):
        teach(settings(hearts, tmp_path / "run", tasks=[task]))


def test_an_event_that_nobody_recorded_is_told(hearts: Aligned, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no training recording has the event wheeze"):
        teach(settings(hearts, tmp_path / "run", events=["wheeze"]))


def test_a_batch_that_recordings_do_not_fill_is_told(hearts: Aligned, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="do not fill a batch of 5000"):
        teach(settings(hearts, tmp_path / "run", batch_size=5000))


def test_a_task_that_nobody_answers_is_told(hearts: Aligned, tmp_path: Path) -> None:
    task = {"name": "smoker", "column": "smoker", "positive": ["yes"]}
    with pytest.raises(CorpusError, match="smoker"):
        teach(settings(hearts, tmp_path / "run", tasks=[task]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": {}}, "give one teacher"),
        ({"teacher": {"encoder": "scratch-conv"}, "text_labels": [TEXT_LABEL]}, "a plain encoder knows no texts"),
        ({"tasks": []}, "nothing to say"),
        ({"tasks": [{**MURMUR, "name": "Murmur!"}]}, "label 'Murmur!'"),
        ({"text_labels": [{**TEXT_LABEL, "name": "murmur"}]}, "have one name"),
        ({"front_end": {**FRONT_END, "mel_bands": 40}}, "a multiple of 16"),
        ({"front_end": {**FRONT_END, "high_hz": 3000.0}}, "within half of the sample rate"),
        ({"window_s": 2.005}, "no multiple of the front-end's hop"),
        ({"hop_s": 3.0}, "longer than window_s"),
        ({"events": ["cough"], "front_end": {**FRONT_END, "hop_samples": 125}}, r"a multiple of 0\.01 s for events"),
        ({"events": ["murmur"]}, "have one name"),
        ({"quantise_epochs": 2}, "less than epochs"),
        ({"text_labels": [{**TEXT_LABEL, "like": "outcome"}]}, "none of the tasks"),
        ({"text_labels": [{**TEXT_LABEL, "negative": "A loud murmur is heard."}]}, "its two texts are one"),
        ({"views": {"snr_db": [30.0, 5.0]}}, "the lowest first"),
        ({"recordings": "gone.csv"}, "gone.csv: no such file"),
        ({"teacher": {"aligned": "gone"}}, "gone: holds no encoder"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    hearts: Aligned, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    from distill.teach_config import refuse_misfits, refuse_missing

    wrong = settings(hearts, tmp_path, **changes)
    with pytest.raises(ConfigError, match=message) as told:
        refuse_misfits(wrong)
        refuse_missing(wrong)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recordings=gone.csv", "--output=x", "--teacher.encoder=scratch-conv"], "nothing to say"),
        (["--recordings=gone.csv", "--output=x", "--teacher.aligned=gone", "--width=20"], "width"),
        (["--config=gone.toml"], "gone.toml"),
        (["--recordings=gone.csv", "--output=x", "--objective.cosin=1"], "--objective.cosin"),
    ],
)
def test_a_mistake_is_told_in_one_line_before_torch_is_loaded(tmp_path: Path, flags: list[str], message: str) -> None:
    for library in ("torch", "lightning"):
        (tmp_path / library).mkdir()
        (tmp_path / library / "__init__.py").write_text("raise SystemExit('loaded')")
    finished = run(*flags, environment={"PYTHONPATH": str(tmp_path)})
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert message in finished.stderr
