"""A student's figures on people it never heard, and labels added by text."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from align.clips import Clips
from align.corpora.recording import Split
from align.scores import Features, Part
from align.tasks import Examples, Task, examples
from distill import evaluate, label
from distill.checkpoint import NAME, load_student, save_student
from distill.embedding import embed_recordings
from distill.frontend import LogMel
from distill.scores import Heard, head_logits, of_label, open_parts
from tests.aligning import Aligned, refused, run_main
from tests.recordings import recording


@pytest.fixture
def student(taught: Path, tmp_path: Path) -> Path:
    """A copy that a test may write beside."""
    return Path(shutil.copy(taught / NAME, tmp_path / NAME))


def test_figures_stand_beside_baselines_with_intervals(
    student: Path, hearts: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--student", student, "--recordings", hearts.recordings, "--rounds", "100", "--teacher", hearts.folder)
    assert run_main(evaluate.main, monkeypatch, *flags) == 0
    printed = capsys.readouterr().out
    found = json.loads((student.parent / "evaluation.json").read_text())["labels"]
    assert set(found) == {"murmur", "loud"}
    for name, figures in found.items():
        assert name in printed
        assert figures["chance"] == 0.5
        assert figures["people_yes"] > 0
        assert figures["people_no"] > 0
        for column in ("student", "int8", "log_mel_statistics", "teacher"):
            value = figures[column]
            assert 0 <= value["low"] <= value["value"] <= value["high"] <= 1
        gap = figures["student"]["value"] - figures["log_mel_statistics"]["value"]
        assert figures["better_by"]["value"] == pytest.approx(gap)
        gap = figures["int8"]["value"] - figures["student"]["value"]
        assert figures["int8_less"]["value"] == pytest.approx(gap)
    assert found["murmur"]["than_head"] is None
    gap = found["loud"]["student"]["value"] - found["murmur"]["student"]["value"]
    assert found["loud"]["than_head"]["value"] == pytest.approx(gap)
    assert "made of two texts; less the head that was taught murmur" in printed


def test_every_figure_is_of_its_own_and_the_differences_are_the_students_gains(student: Path) -> None:
    """Of eight people, whose sixteen pairs are in order but for one, two and four of them."""
    taught = load_student(student)
    weight = taught.student.window_head.weight[0].detach().numpy()

    def clips(split: Split, answers: list[str]) -> Clips:
        rows = [recording(f"{n}.wav", f"{split}-{n}", split, murmur=answer) for n, answer in enumerate(answers)]
        return Clips(rows, [row.path.name for row in rows], [np.zeros(1, np.int16) for _ in rows], [])

    def heard_as(*logits: float) -> NDArray[np.float32]:
        return np.outer(logits, weight / (weight @ weight)).astype(np.float32)

    parts: dict[Part, Clips] = {
        "train": clips("train", ["Present", "Absent"] * 8),
        "test": clips("test", ["Present"] * 4 + ["Absent"] * 4),
    }
    plain, int8 = heard_as(4, 3, 2, -1, 0, -2, -3, -4), heard_as(4, 3, -1, -1.5, 0, -2, -3, -4)
    train = np.array([[1], [0]] * 8, np.float32)
    log_mel: Features = {"train": train, "test": np.array([[4], [3], [2], [-5], [0], [-2], [-3], [-4]], np.float32)}
    teacher: Features = {"train": train, "test": np.array([[1]] * 4 + [[0]] * 4, np.float32)}
    found = of_label(taught, 0, taught.labels[0], Heard(parts, plain, int8, log_mel, teacher), rounds=50)
    assert (found.student.value, found.int8.value, found.log_mel_statistics.value) == (15 / 16, 14 / 16, 12 / 16)
    assert (found.better_by.value, found.int8_less.value) == (3 / 16, -1 / 16)
    assert found.teacher is not None
    assert found.teacher.value == 1.0


def test_a_person_is_scored_by_the_mean_logit_of_their_recordings(student: Path, hearts: Aligned) -> None:
    taught = load_student(student)
    clips = open_parts(hearts.recordings, 4000, ())["test"]
    embeddings = embed_recordings(taught.student, LogMel(taught.front_end), clips, taught.window_samples)
    logits = head_logits(taught.student, 0, embeddings)
    task = taught.labels[0].task
    assert isinstance(task, Task)
    asked: Examples = examples(task, clips.rows, logits)
    mine = [index for index, row in enumerate(clips.rows) if row.group == asked.groups[0]]
    assert len(mine) > 1
    assert asked.features[0, 0] == pytest.approx(float(np.mean([logits[index, 0] for index in mine])), abs=1e-5)
    with torch.no_grad():
        head = taught.student.window_head(torch.from_numpy(embeddings))[:, :1].numpy()
    assert np.allclose(head, logits, atol=1e-4)


def test_recordings_without_the_column_are_told(
    student: Path,
    hearts: Aligned,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = [line.split(",") for line in hearts.recordings.read_text().splitlines()]
    column = lines[0].index("murmur")
    for line in lines:
        line[0] = line[0] if line[0] == "path" else str(hearts.recordings.parent / line[0])
        del line[column]
    table = tmp_path / "recordings.csv"
    table.write_text("\n".join(map(",".join, lines)) + "\n")
    assert run_main(evaluate.main, monkeypatch, "--student", student, "--recordings", table) == 2
    assert "murmur" in refused(capsys)


def test_a_student_or_table_that_is_missing_is_told(
    student: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(evaluate.main, monkeypatch, "--student", student, "--recordings", "gone.csv") == 2
    assert "gone.csv: no such file" in refused(capsys)
    assert run_main(evaluate.main, monkeypatch, "--student", "gone.ckpt", "--recordings", student) == 2
    assert "gone.ckpt: no such file" in refused(capsys)


def add(
    student: Path, hearts: Aligned, monkeypatch: pytest.MonkeyPatch, positive: str, negative: str, name: str = "low"
) -> int:
    flags = ["--student", student, "--name", name, "--positive", positive, "--negative", negative]
    flags += ["--output", student.parent / "more.ckpt", "--text_cache", hearts.teacher_cache]
    return run_main(label.main, monkeypatch, *flags)


def test_a_label_is_added_by_text_alone(student: Path, hearts: Aligned, monkeypatch: pytest.MonkeyPatch) -> None:
    assert add(student, hearts, monkeypatch, "The murmur is low in pitch.", "The murmur is high in pitch.") == 0
    before, after = load_student(student), load_student(student.parent / "more.ckpt")
    assert [known.name for known in after.labels] == ["murmur", "loud", "low"]
    assert after.labels[2].positive == "The murmur is low in pitch."
    log_mel = torch.randn(1, 32, 98)
    with torch.no_grad():
        said, says = before.student(log_mel)[2], after.student(log_mel)[2]
    assert torch.equal(says[:, :2], said)
    assert after.text is not None
    assert after.text["names"] == ("loud", "low")
    assert torch.equal(after.text["prompts"][1], after.student.window_head.weight[2])


def test_the_same_texts_give_the_row_that_teaching_gave(
    student: Path, hearts: Aligned, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert add(student, hearts, monkeypatch, "A loud murmur is heard.", "No murmur is heard.") == 0
    weights = load_student(student.parent / "more.ckpt").student.window_head.weight
    assert torch.allclose(weights[2], weights[1], atol=1e-5)


def test_texts_that_are_one_are_refused(
    student: Path, hearts: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert add(student, hearts, monkeypatch, "A murmur.", "A murmur.") == 2
    assert "the two texts mean the same" in refused(capsys)
    assert not (student.parent / "more.ckpt").exists()


def test_a_student_of_a_plain_encoder_knows_no_texts(
    student: Path, hearts: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dataclasses import replace

    save_student(student, replace(load_student(student), text=None))
    assert add(student, hearts, monkeypatch, "A murmur.", "No murmur.") == 2
    assert "not aligned to texts" in refused(capsys)
