"""`python -m align.evaluate`: figures of the test split beside chance and a baseline, and how wrong input is told."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from align.baseline import log_mel_statistics
from align.clips import Clips
from align.corpora import Recording
from align.corpora.recording import Split
from align.evaluate import main
from align.scores import Part, evaluate_task
from align.tasks import Task
from align.training import train
from tests.aligning import Aligned, refused, run_main, settings_of
from tests.recordings import recording


@pytest.fixture
def copy(aligned: Aligned, tmp_path: Path) -> Path:
    """The trained folder, to write into."""
    return Path(shutil.copytree(aligned.folder, tmp_path / "run"))


def table_with(aligned: Aligned, folder: Path, keep: str) -> Path:
    """The corpus' table, of whose test people only those with this murmur are left."""
    with aligned.recordings.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    path = folder / "table.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            if row["split"] == "train" or row["murmur"] == keep:
                writer.writerow(row | {"path": str(aligned.recordings.parent / row["path"])})
    return path


def test_figures_are_printed_and_left_in_the_folder(
    aligned: Aligned, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(main, monkeypatch, "--aligned", copy, "--recordings", aligned.recordings) == 0
    lines = capsys.readouterr().out.splitlines()
    written = json.loads((copy / "evaluation.json").read_text())
    assert written["recordings"] == str(aligned.recordings)
    found = written["tasks"]["murmur"]
    with aligned.recordings.open(newline="") as stream:
        people = {row["group"]: row["murmur"] for row in csv.DictReader(stream) if row["split"] == "test"}
    answers = list(people.values())
    assert (found["people_yes"], found["people_no"]) == (answers.count("Present"), answers.count("Absent"))
    assert found["chance"] == 0.5
    for kind in ("encoder", "log_mel_statistics"):
        assert 0 <= found[kind]["low"] <= found[kind]["value"] <= found[kind]["high"] <= 1
        assert f"{found[kind]['value']:.3f}" in lines[1]
    assert lines[1].split()[:4] == ["murmur", str(answers.count("Present")), "/", str(answers.count("Absent"))]


def test_figures_are_those_of_test_people_by_a_probe_of_training_people() -> None:
    """Whose embeddings tell the answer the wrong way round, and whose plain features tell it right."""
    task = Task(name="murmur", column="murmur", positive=("Present",))

    def clips(split: Split, people: int) -> Clips:
        answers = ["Present" if number % 4 == 0 else "Absent" for number in range(people)]
        rows = [recording(f"{n}.wav", f"{split}-{n}", split, murmur=answer) for n, answer in enumerate(answers)]
        return Clips(rows, [row.path.name for row in rows], [np.zeros(1, np.int16) for _ in rows], [])

    parts: dict[Part, Clips] = {"train": clips("train", 40), "test": clips("test", 12)}
    told: dict[Part, NDArray[np.float32]] = {
        part: np.array([[row.metadata["murmur"] == "Present"] for row in heard.rows], np.float32)
        for part, heard in parts.items()
    }
    found = evaluate_task(task, parts, {"train": told["train"], "test": 1 - told["test"]}, told)
    assert (found.encoder.value, found.log_mel_statistics.value) == (0.0, 1.0)
    assert (found.people_yes, found.people_no) == (3, 9)


def test_tasks_of_a_config_replace_those_of_the_training(
    aligned: Aligned, copy: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = tmp_path / "tasks.toml"
    config.write_text('[[tasks]]\nname = "girl"\ncolumn = "sex"\npositive = ["Female"]\nunit = "recording"\n')
    given = ("--config", config, "--aligned", copy, "--recordings", aligned.recordings)
    assert run_main(main, monkeypatch, *given) == 0
    assert list(json.loads((copy / "evaluation.json").read_text())["tasks"]) == ["girl"]


@pytest.mark.parametrize(("kept", "lacking"), [("Present", "no"), ("Absent", "yes")])
def test_test_split_with_one_answer_is_told_in_one_line(
    kept: str,
    lacking: str,
    aligned: Aligned,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    table = table_with(aligned, tmp_path, kept)
    assert run_main(main, monkeypatch, "--aligned", aligned.folder, "--recordings", table) == 2
    assert f"nobody in the test split has the answer {lacking}" in refused(capsys)
    assert not (aligned.folder / "evaluation.json").exists()


def test_wrong_folders_and_tables_are_told_in_one_line(
    aligned: Aligned, copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (copy / "encoder.safetensors").unlink()
    for folder, table, told in (
        (tmp_path, aligned.recordings, "last.ckpt: no such file"),
        (copy, aligned.recordings, "encoder.safetensors: no such file"),
        (aligned.folder, tmp_path / "none.csv", "none.csv: no such file"),
        (aligned.folder, table_with(aligned, tmp_path, "nothing"), "no recordings with split test"),
    ):
        assert run_main(main, monkeypatch, "--aligned", folder, "--recordings", table) == 2, told
        assert told in refused(capsys)


def test_log_mel_statistics_are_mean_and_deviation_of_whole_recordings() -> None:
    def clips(*sounds: NDArray[np.int16]) -> Clips:
        rows = [Recording(Path(f"{number}.wav"), "c", "g", "test", "heart", "") for number in range(len(sounds))]
        return Clips(rows, [row.path.name for row in rows], list(sounds), [])

    noise = (3000 * np.random.default_rng(0).standard_normal(8000)).astype(np.int16)
    half = np.concatenate([noise, np.zeros(8000, np.int16)])
    steady, broken, quiet, short = log_mel_statistics(clips(noise, half, noise // 4, noise[:50]), 4000)
    assert steady.shape == (64,)
    assert (steady[:32] - quiet[:32] > 2.0).all(), "the level is kept"
    assert (broken[32:] > 3 * steady[32:]).all(), "sound and silence deviate more than sound"
    assert np.isfinite(short).all()


def test_finished_training_that_is_started_again_leaves_all_as_it_is(aligned: Aligned, copy: Path) -> None:
    place = Aligned(copy, aligned.recordings, aligned.reports, aligned.teacher_cache)
    before = {name: (copy / name).read_bytes() for name in ("last.ckpt", "encoder.safetensors", "metrics.json")}
    train(settings_of(place))
    assert {name: (copy / name).read_bytes() for name in before} == before
