"""The export of a student that answers questions about recordings, on synthesised hearts."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch

from align.audio import load
from align.corpora import Recording, hold_out, read_table
from align.synthetic import write_corpus
from align.tasks import Task
from distill.checkpoint import LabelSpec, TaughtStudent, save_student
from distill.frontend import LogMel
from distill.student import Student, StudentShape
from edge.analysis import Analyzer
from edge.backends import open_backend
from edge.bundle import Bundle, check_golden, load_bundle
from edge.errors import UserError
from edge.manifest import FrontEnd
from edge.track import TrackChunk
from quantize.config import ExportSettings
from quantize.exporter import export
from quantize.questions import (
    asked,
    choose_sustained,
    holds_here,
    log_odds,
    question_accuracy,
    read_question_splits,
)
from quantize.recordings import LabelledClip
from quantize.taught import Taught, is_taught, load_taught

RATE_HZ = 4000
WINDOW_S = 4.0
FRONT_END = FrontEnd(
    sample_rate_hz=RATE_HZ, frame_samples=200, hop_samples=80, mel_bands=32, low_hz=25.0, high_hz=1000.0
)
MURMUR = Task(name="murmur", column="murmur", positive=("Present",), negative=("Absent",))
LABELS = (
    LabelSpec(name="murmur", kind="clip", task=MURMUR),
    LabelSpec(name="boy", kind="clip", task=Task(name="boy", column="sex", positive=("Male",))),
    LabelSpec(name="harsh", kind="clip", origin="text", positive="A harsh murmur is heard.", negative="No murmur."),
)


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings of 5 s of each of sixty people, some with a murmur."""
    return write_corpus(tmp_path_factory.mktemp("hearts"), 60)


@pytest.fixture(scope="module")
def student_path(hearts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random convolutions and heads fitted to the training recordings in closed form."""
    torch.manual_seed(5)
    shape = StudentShape(
        mel_bands=32, labels=3, clip_labels=3, width=16, context_blocks=1, form="depthwise", embedding_size=32
    )
    student = Student(shape).eval()
    rows = [row for row in read_table(hearts) if row.split == "train"]
    samples = [load(row.path, RATE_HZ)[: round(WINDOW_S * RATE_HZ)] for row in rows]
    with torch.inference_mode():
        found = student(LogMel(FRONT_END)(torch.from_numpy(np.stack(samples))))[0]
        x = torch.cat([found, torch.ones(len(rows), 1)], dim=1).double()
        answers = [[spec.task.answer(row) if spec.task else 0.5 for spec in LABELS] for row in rows]
        y = 8.0 * torch.tensor(answers, dtype=torch.float64) - 4.0
        fitted = torch.linalg.solve(x.T @ x + 1e-4 * torch.eye(x.shape[1], dtype=torch.float64), x.T @ y)
        student.window_head.weight.copy_(fitted[:-1].T)
        student.window_head.bias.copy_(fitted[-1])
    data: dict[str, Any] = {
        "corpora": [{"name": "synthetic", "licences": ["CC0-1.0"], "recordings": len(rows)}],
        "include_corpora": ["synthetic"],
        "exclude_corpora": [],
        "validation_share": 0.3,
        "seed": 0,
        "person": "group",
    }
    text = {"map": {}, "prompts": torch.ones(1, 32), "names": ("harsh",)}
    path = tmp_path_factory.mktemp("taught") / "student.ckpt"
    save_student(path, TaughtStudent(student, LABELS, FRONT_END, WINDOW_S, 1.0, data, {"teacher": "none"}, text))
    return path


def _settings(student: Path, table: Path, output: Path, **others: Any) -> ExportSettings:
    fields = {"calibration_windows": 300, "bootstrap_rounds": 100, "precision": "float32", "labels": ("murmur",)}
    return ExportSettings(
        checkpoint=student, recordings=table, name="auscultation", output=output, **{**fields, **others}
    )


@pytest.fixture(scope="module")
def exported(student_path: Path, hearts: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    output = tmp_path_factory.mktemp("exported") / "auscultation"
    assert export(_settings(student_path, hearts, output)) == 0
    return load_bundle(output, allow_unsigned=True)


def test_bundle_is_for_contact_audio_and_gives_its_golden_outputs(exported: Bundle) -> None:
    manifest = exported.manifest
    assert (manifest.modality, manifest.front_end.sample_rate_hz) == ("contact", RATE_HZ)
    assert (manifest.window_s, manifest.hop_s, [label.name for label in manifest.labels]) == (4.0, 1.0, ["murmur"])
    check_golden(exported, open_backend(exported))


def test_figures_are_of_people_and_of_recordings_with_intervals(exported: Bundle) -> None:
    figures = {metric.name: metric for metric in exported.manifest.metrics}
    for name in ("auroc_murmur_people", "auroc_murmur_recordings"):
        figure = figures[name]
        assert figure.low is not None
        assert figure.high is not None
        assert 0.7 < figure.value <= figure.high
        assert figure.low <= figure.value
    assert figures["auroc_murmur_people"].detail == "test split, 5 yes, 7 no"
    assert figures["auroc_murmur_recordings"].detail == "test split, 10 yes, 14 no"


def test_card_names_a_sound_and_diagnoses_nothing(exported: Bundle) -> None:
    card = (exported.path / "card.md").read_text()
    for text in (
        "It does not diagnose",
        "stethoscope",
        "multiply-adds",
        "murmur, people",
        "CC0-1.0",
        "breathing rate",
        "bootstrap over",
    ):
        assert text in card
    for word in ("disease", "abnormal", "pathological", "patient has", "detects"):
        assert word not in card.casefold()


def test_directions_of_texts_come_along(exported: Bundle) -> None:
    assert "prompts.npz" in exported.manifest.files
    with np.load(exported.path / "prompts.npz", allow_pickle=False) as stored:
        assert (stored["prompts"].shape, stored["names"].tolist()) == ((1, 32), ["harsh"])


def track(bundle: Bundle, samples: np.ndarray, rate_hz: int) -> np.ndarray:
    chunks: list[TrackChunk] = []
    analyzer = Analyzer(bundle, open_backend(bundle), input_rate_hz=rate_hz, channels=1)
    analyzer.on_scores = chunks.append
    analyzer.push(samples[:, None])
    analyzer.flush()
    return np.concatenate([chunk.scores for chunk in chunks])


@pytest.mark.parametrize("rate_hz", [2000, 44_100])
def test_recording_at_another_rate_is_scored_alike(exported: Bundle, hearts: Path, rate_hz: int) -> None:
    row = next(row for row in read_table(hearts) if row.split == "test")
    samples = soxr.resample(soxr.resample(load(row.path, RATE_HZ), RATE_HZ, 2000), 2000, RATE_HZ)
    other = soxr.resample(samples, RATE_HZ, rate_hz)
    np.testing.assert_allclose(track(exported, other, rate_hz), track(exported, samples, RATE_HZ), atol=0.1)


def test_point_leaves_nearly_all_recordings_without_the_sound_below_it() -> None:
    scores = np.concatenate([np.linspace(0.0, 0.6, 40), np.linspace(0.4, 0.9, 10)])
    choice = choose_sustained("murmur", scores, np.arange(50) >= 40, window_s=8.0)
    assert choice.point.on == 0.6
    assert choice.value == pytest.approx(0.6)
    assert (choice.point.minimum_duration_s, choice.point.merge_gap_s) == (6.0, 4.0)


def test_recording_that_reaches_the_threshold_counts_as_heard() -> None:
    choice = choose_sustained("murmur", np.array([0.5, 0.5]), np.array([True, False]), window_s=8.0)
    assert next(row for row in choice.curve if row[0] == 0.5) == (0.5, 1.0, 0.0)


def row_of(person: str, murmur: str, here: str = "") -> Recording:
    metadata = {"murmur": murmur} | ({"murmur_here": here} if here else {})
    return Recording(Path(f"{person}.wav"), "own", person, "test", "heart", "heart", metadata=metadata)


@pytest.mark.parametrize(
    ("murmur", "here", "expected"),
    [
        ("Present", "1.0", True),
        ("Present", "0.0", False),
        ("Present", "", True),
        ("Absent", "", False),
        ("Absent", "1.0", False),
        ("Unknown", "0.0", None),
    ],
)
def test_recording_is_asked_whether_the_sound_was_heard_in_it(murmur: str, here: str, expected: object) -> None:
    assert holds_here(MURMUR, row_of("a", murmur, here)) is expected


def test_person_answers_with_the_mean_of_all_their_recordings() -> None:
    rows = [row_of("a", "Present", "1.0"), row_of("a", "Present", "0.0"), row_of("b", "Absent")]
    clips = [LabelledClip(row, np.zeros(8, np.float32), 1.0, (holds_here(MURMUR, row),)) for row in rows]
    tracks = [np.full((10, 1), score, np.float32) for score in (0.9, 0.5, 0.1)]
    found = asked(MURMUR, clips, 0, log_odds(tracks, 0))
    assert found["people"].groups == ("a", "b")
    assert found["people"].features[:, 0] == pytest.approx([np.log(9) / 2, -np.log(9)], abs=1e-4)
    assert found["recordings"].answers.tolist() == [True, False, False]


def test_drop_is_the_checkpoints_auroc_less_the_candidates() -> None:
    rows = [row_of(person, "Present" if person < "d" else "Absent") for person in "abcdef"]
    clips = [LabelledClip(row, np.zeros(8, np.float32), 1.0, (holds_here(MURMUR, row),)) for row in rows]
    before = [np.full((10, 1), score, np.float32) for score in (0.9, 0.8, 0.7, 0.4, 0.3, 0.2)]
    after = [np.full((10, 1), score, np.float32) for score in (0.9, 0.8, 0.35, 0.4, 0.3, 0.2)]
    people, recordings = question_accuracy([MURMUR], clips, after, before, rounds=50)
    assert (people.label, people.positives, people.negatives) == ("murmur, people", 3, 3)
    assert people.auroc.value == recordings.auroc.value == pytest.approx(8 / 9)
    assert people.drop.value == recordings.drop.value == pytest.approx(1 / 9)


def test_checkpoint_of_events_is_no_student_of_questions(checkpoint_path: Path, student_path: Path) -> None:
    assert is_taught(student_path)
    assert not is_taught(checkpoint_path)
    assert not is_taught(student_path.parent / "absent.ckpt")


@pytest.mark.parametrize(
    ("labels", "told"),
    [(("wheeze",), "no label wheeze, only murmur, boy, harsh"), (("harsh",), "label harsh answers no question")],
)
def test_label_that_cannot_ship_ends_with_one_line(
    student_path: Path, hearts: Path, tmp_path: Path, labels: tuple[str, ...], told: str
) -> None:
    with pytest.raises(UserError, match=told) as caught:
        export(_settings(student_path, hearts, tmp_path / "b", labels=labels))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_table_in_which_nobody_has_the_sound_ends_with_one_line(
    student_path: Path, hearts: Path, tmp_path: Path
) -> None:
    rows = [row for row in read_table(hearts) if row.split != "test" or row.metadata["murmur"] == "Absent"]
    table = tmp_path / "part.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["path", "corpus", "group", "split", "modality", "murmur"])
        for row in rows:
            writer.writerow([row.path, "synthetic", row.group, row.split, row.modality, row.metadata["murmur"]])
    with pytest.raises(UserError, match="no test recording answers murmur with yes"):
        export(_settings(student_path, table, tmp_path / "b"))


def test_labels_of_a_checkpoint_of_events_cannot_be_chosen(
    checkpoint_path: Path, recordings: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="labels"):
        export(_settings(checkpoint_path, recordings, tmp_path / "b"))


def _questions(folder: Path, *splits: str) -> Path:
    """A table of twenty people, every second with a murmur, in turn in these splits, of two corpora in turn."""
    rows = []
    for number in range(20):
        (folder / f"{number}.wav").touch()
        split, corpus = splits[number // 2 % len(splits)], "own" if number % 4 < 2 else "other"
        rows.append(f"{number}.wav,{corpus},child-{number},{split},heart,{('Absent', 'Present')[number % 2]}")
    (folder / "recordings.csv").write_text("\n".join(["path,corpus,group,split,modality,murmur", *rows]) + "\n")
    return folder / "recordings.csv"


@pytest.fixture(scope="module")
def taught(student_path: Path) -> Taught:
    return replace(load_taught(student_path, ["murmur"]), include_corpora=frozenset())


def test_split_of_the_table_comes_before_one_that_is_drawn(taught: Taught, tmp_path: Path) -> None:
    path = _questions(tmp_path, "train", "validation", "test", "train")
    assert read_question_splits(path, taught) == {
        name: [row for row in read_table(path) if row.split == name] for name in ("train", "validation", "test")
    }


def test_validation_people_are_drawn_as_in_the_training_where_there_are_none(taught: Taught, tmp_path: Path) -> None:
    path = _questions(tmp_path, "train", "train", "test")
    drawn = replace(taught, checkpoint=replace(taught.checkpoint, validation_share=0.4, seed=1))
    held = {row.group for row in hold_out(read_table(path), 0.4, seed=1) if row.split == "validation"}
    assert {row.group for row in read_question_splits(path, drawn)["validation"]} == held


def test_corpora_that_taught_nothing_are_tested_alone(taught: Taught, tmp_path: Path) -> None:
    path = _questions(tmp_path, "train", "validation", "test", "train", "validation")
    without = replace(taught, checkpoint=replace(taught.checkpoint, exclude_corpora=frozenset({"other"})))
    splits = read_question_splits(path, without)
    assert {row.corpus for row in splits["train"] + splits["validation"]} == {"own"}
    assert {row.corpus for row in splits["test"]} == {"own", "other"}
    elsewhere = replace(taught, include_corpora=frozenset({"another"}))
    with pytest.raises(UserError, match="no train recording answers murmur with yes"):
        read_question_splits(path, elsewhere)
