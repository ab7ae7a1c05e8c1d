"""The training program: what it writes, that it resumes, and how it answers wrong input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from align.corpora import CorpusError
from distill.config import TrainSettings
from distill.training import select, train
from edge.errors import UserError
from quantize.checkpoint import load_checkpoint
from tests.kills import stopped_after_writing

ROOT = Path(__file__).parents[2]
TINY = {
    "width": 16,
    "depth": 2,
    "context_blocks": 1,
    "scenes": 16,
    "windows_per_epoch": 64,
    "workers": 0,
    "validation_share": 0.3,
}


def settings(table: Path, output: Path, **changes: object) -> TrainSettings:
    return TrainSettings.model_validate({"recordings": table, "output": output, "epochs": 2, **TINY, **changes})


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "distill.train", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def epochs_seen(metrics: Path) -> list[int]:
    with metrics.open() as stream:
        return sorted({int(row["epoch"]) for row in csv.DictReader(stream)})


@pytest.fixture(scope="module")
def trained(tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("trained")
    train(settings(tiny_corpus, folder))
    return folder


@pytest.mark.slow
def test_training_leaves_all_that_the_next_stage_and_a_reader_need(trained: Path) -> None:
    checkpoint = torch.load(trained / "last.ckpt", weights_only=True)
    assert checkpoint["hyper_parameters"]["labels"] == ("cough", "breath", "speech")
    assert checkpoint["hyper_parameters"]["data"]["corpora"][0]["licences"] == ["CC0-1.0"]
    assert (trained / "learning_curves.png").read_bytes().startswith(b"\x89PNG")
    assert (trained / "settings.toml").is_file()
    assert not (trained / "scenes").exists()
    assert "validation/score" in (trained / "metrics.csv").read_text()
    assert "validation/score" in json.loads((trained / "metrics.json").read_text())
    averaged, current = checkpoint["state_dict"], checkpoint["current_model_state"]
    assert any(not torch.equal(value, current[name]) for name, value in averaged.items())
    student = load_checkpoint(trained / "last.ckpt").student
    assert (student.shape.width, student.shape.depth, student.shape.context_blocks) == (16, 2, 1)
    assert all(torch.equal(value, averaged[f"student.{name}"]) for name, value in student.state_dict().items())


@pytest.mark.slow
def test_same_seed_gives_the_same_weights(tiny_corpus: Path, tmp_path: Path) -> None:
    first, second = (train(settings(tiny_corpus, tmp_path / name, epochs=1)) for name in "ab")
    weights = [torch.load(path, weights_only=True)["state_dict"] for path in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.slow
def test_last_epochs_in_int8_leave_plain_weights_that_the_exporter_opens(tiny_corpus: Path, tmp_path: Path) -> None:
    """Ten batches an epoch: of the last, eight set the ranges and two are heard in INT8."""
    paths = [
        train(settings(tiny_corpus, tmp_path / str(last), windows_per_epoch=640, quantise_epochs=last))
        for last in (0, 1)
    ]
    plain, aware = (load_checkpoint(path).student.state_dict() for path in paths)
    assert plain.keys() == aware.keys()
    assert any(not torch.equal(value, aware[name]) for name, value in plain.items())
    kept = [torch.load(path, weights_only=True)["current_model_state"] for path in paths]
    assert (kept[1]["quantised.ranges"] > 0).all()
    assert "quantised.ranges" not in kept[0]


@pytest.mark.slow
def test_killed_training_goes_on_where_it_was(tiny_corpus: Path, tmp_path: Path) -> None:
    flags = [f"--recordings={tiny_corpus}", f"--output={tmp_path}", "--epochs=3"]
    flags += [f"--{name}={value}" for name, value in TINY.items()]
    stopped_after_writing("last.ckpt", "distill.train", *flags)
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 0
    finished = run(*flags)
    assert finished.returncode == 0, finished.stderr
    assert "next: python -m quantize.export" in finished.stdout
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["epoch"] == 2
    assert epochs_seen(tmp_path / "metrics.csv") == [0, 1, 2]


@pytest.mark.slow
def test_repeating_a_finished_training_leaves_it_alone(tiny_corpus: Path, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    assert train(settings(tiny_corpus, trained)) == trained / "last.ckpt"
    assert {path: path.read_bytes() for path in trained.iterdir() if path.is_file()} == before


@pytest.mark.slow
def test_training_is_not_resumed_under_other_settings(tiny_corpus: Path, trained: Path) -> None:
    """People whom it was trained on would become its validation."""
    with pytest.raises(UserError, match="a training with another seed"):
        train(settings(tiny_corpus, trained, seed=1))


def test_damaged_checkpoint_is_told_in_one_line_and_left(tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"PK half of a checkpoint")
    with pytest.raises(UserError, match=r"last\.ckpt: damaged; remove it to train from the beginning"):
        train(settings(tiny_corpus, tmp_path))
    assert (tmp_path / "last.ckpt").read_bytes() == b"PK half of a checkpoint"


@pytest.mark.slow
def test_checkpoint_of_another_architecture_is_not_gone_on_from(
    tiny_corpus: Path, trained: Path, tmp_path: Path
) -> None:
    checkpoint = torch.load(trained / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["student.step_head.bias"] = torch.zeros(5)
    torch.save(checkpoint, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"another architecture: student\.step_head\.bias .* remove it"):
        train(settings(tiny_corpus, tmp_path, epochs=3))


def test_output_that_cannot_be_a_folder_is_told_in_one_line(tiny_corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        train(settings(tiny_corpus, tmp_path / "file"))


def test_excluded_corpus_is_neither_trained_nor_validated_on(tiny_corpus: Path, tmp_path: Path) -> None:
    table = tmp_path / "recordings.csv"
    text = tiny_corpus.read_text().replace("cough-0.flac,tiny", "cough-0.flac,other")
    table.write_text("\n".join(f"{tiny_corpus.parent}/{line}" if "flac" in line else line for line in text.split("\n")))
    rows = select(settings(table, tmp_path, exclude_corpora=("other",)))
    assert rows
    assert all(row.corpus == "tiny" and row.split != "test" for row in rows)


def test_unknown_corpus_to_exclude_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no corpus coughsegg to exclude"):
        select(settings(tiny_corpus, tmp_path, exclude_corpora=("coughsegg",)))


def test_label_that_nobody_recorded_is_refused(tiny_corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no train recording has the event wheeze"):
        select(settings(tiny_corpus, tmp_path, labels=("cough", "wheeze")))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--recordings=gone.csv", "--output=x"], "gone.csv: no such file"),
        (["--recordings=a.csv", "--output=x", "--width=20"], "width"),
        (["--config=gone.toml"], "gone.toml"),
        (["--recordings=a.csv", "--output=x", "--epoch=3"], "--epoch"),
        (
            [f"--recordings={__file__}", "--output=x", "--epochs=3", "--quantise_epochs=3"],
            "quantise_epochs = 3 must be",
        ),
    ],
)
def test_wrong_input_gives_one_line_and_status_2(flags: list[str], message: str) -> None:
    finished = run(*flags)
    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert message in finished.stderr
