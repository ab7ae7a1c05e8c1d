"""The training program: what it leaves, that it goes on after a stop, in two processes, and on wrong input."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from align.checkpointing import load_encoder
from align.config import AlignSettings
from align.training import train
from edge.errors import UserError
from edge.settings import to_toml
from tests.aligning import Aligned, corpus_of, settings_of
from tests.kills import stopped_after_writing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SHORTER = {
    "encoder": {"name": "scratch-conv", "sample_rate_hz": 4000, "clip_s": 1.0},
    "validation_share": 0.25,
    "epochs": 2,
    "warmup_steps": 2,
    "validate_epochs": 1,
    "checkpoint_steps": 2,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Aligned:
    return corpus_of(tmp_path_factory.mktemp("hearts"))


@pytest.fixture(scope="module")
def trained(corpus: Aligned, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("trained")
    train(settings(corpus, output))
    return output


def settings(corpus: Aligned, output: Path, **changes: Any) -> AlignSettings:
    """Settings of a training of two epochs that is validated and kept on its way."""
    return settings_of(replace(corpus, folder=output), **{**SHORTER, **changes})


def flags(corpus: Aligned, output: Path, *more: str) -> list[str]:
    """The settings as a file, so that the program reads all of them."""
    file = output.parent / f"{output.name}.toml"
    file.write_text(to_toml(settings(corpus, output)))
    return [f"--config={file}", *more]


def run(*flags: str, launcher: tuple[str, ...] = ("-m",)) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own."""
    command = [sys.executable, *launcher, "align.train", *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_training_leaves_all_that_the_next_stage_and_a_reader_need(trained: Path) -> None:
    assert load_encoder(trained).embedding_size == 256
    assert (trained / "training.png").read_bytes().startswith(b"\x89PNG")
    assert list((trained / "tensorboard").rglob("events.*"))
    figures = json.loads((trained / "metrics.json").read_text())
    assert {"validation/auroc_murmur", "validation/recall_at_1", "validation/median_rank"} <= figures.keys()
    assert 0 <= figures["validation/auroc_murmur"] <= 1
    assert 'name = "scratch-conv"' in (trained / "settings.toml").read_text()
    kept = torch.load(trained / "last.ckpt", weights_only=True)["state_dict"]
    weights = load_file(trained / "encoder.safetensors")
    assert all(torch.equal(value, kept[f"encoder.{name}"]) for name, value in weights.items())


def test_killed_training_goes_on_to_the_same_losses_and_weights(corpus: Aligned, tmp_path: Path) -> None:
    """With two batches a step, which a stop must not divide."""
    output, straight = tmp_path / "stopped", tmp_path / "straight"
    stopped_after_writing("last.ckpt", "align.train", *flags(corpus, output, "--accumulate=2"))
    done = torch.load(output / "last.ckpt", weights_only=True)["batches_done"]
    for folder in (output, straight):
        finished = run(*flags(corpus, folder, "--accumulate=2"))
        assert finished.returncode == 0, finished.stderr
    assert 0 < done < torch.load(output / "last.ckpt", weights_only=True)["batches_done"]
    one, other = (load_file(folder / "encoder.safetensors") for folder in (output, straight))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    told = [json.loads((folder / "metrics.json").read_text()) for folder in (output, straight)]
    assert told[0] == told[1]


def test_same_seed_and_teacher_cache_give_the_same_encoder(corpus: Aligned, tmp_path: Path) -> None:
    folders = (tmp_path / "reads", tmp_path / "finds")
    for folder in folders:
        train(settings(corpus, folder, epochs=1, teacher_cache=tmp_path / "teacher"))
    one, other = (load_file(folder / "encoder.safetensors") for folder in folders)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_two_processes_under_torchrun_leave_one_encoder(corpus: Aligned, tmp_path: Path) -> None:
    output = tmp_path / "both"
    torchrun = (
        "-m",
        "torch.distributed.run",
        "--nproc_per_node=2",
        "--rdzv-backend=c10d",
        "--rdzv-endpoint=127.0.0.1:0",
    )
    torchrun = (*torchrun, "--local-addr=127.0.0.1", "-m")
    finished = run(*flags(corpus, output, "--devices=2", "--batch_size=8", "--epochs=1"), launcher=torchrun)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert finished.stdout.count("encoder: ") == 1
    assert load_encoder(output).embedding_size == 256


def test_training_is_not_resumed_under_other_settings(corpus: Aligned, trained: Path) -> None:
    with pytest.raises(UserError, match="a training with another batch_size"):
        train(settings(corpus, trained, batch_size=12))


def test_damaged_checkpoint_is_told_in_one_line_and_left(corpus: Aligned, tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"PK half of a checkpoint")
    with pytest.raises(UserError, match=r"last\.ckpt: damaged; remove it to train from the beginning"):
        train(settings(corpus, tmp_path))
    assert (tmp_path / "last.ckpt").read_bytes() == b"PK half of a checkpoint"


def test_checkpoint_of_something_else_is_not_gone_on_from(corpus: Aligned, trained: Path, tmp_path: Path) -> None:
    last = tmp_path / "last.ckpt"
    torch.save({"state_dict": {}}, last)
    with pytest.raises(UserError, match=r"last\.ckpt: nothing that a training can go on from; remove it"):
        train(settings(corpus, tmp_path))
    checkpoint = torch.load(trained / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["encoder.stem.0.weight"] = torch.zeros(8, 1, 3, 3)
    torch.save(checkpoint, last)
    with pytest.raises(UserError, match=r"another architecture: encoder\.stem\.0\.weight .* remove it"):
        train(settings(corpus, tmp_path))


def test_full_disk_at_the_figures_is_told_and_gone_on_from(corpus: Aligned, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv.part").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot be written \(No space left on device\); free some space"):
        train(settings(corpus, tmp_path, epochs=1))
    train(settings(corpus, tmp_path, epochs=1))
    assert (tmp_path / "training.png").is_file()
    assert load_encoder(tmp_path).embedding_size == 256


def test_full_disk_keeps_the_last_good_checkpoint(corpus: Aligned, tmp_path: Path) -> None:
    output = tmp_path / "full"
    command = [sys.executable, "-m", "align.train", *flags(corpus, output)]

    def little_room() -> None:
        """Enough for logs and settings, too little for a checkpoint."""
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    output.mkdir()
    finished = subprocess.run(command, cwd=ROOT, preexec_fn=little_room, capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr.splitlines()[-1].startswith(
        f"error: {output / 'last.ckpt'}: cannot be written (File too large)"
    )
    assert not (output / "last.ckpt").exists()
    assert not list(output.glob("*.part"))
    train(settings(corpus, output))
    assert (output / "last.ckpt").is_file()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--recordings=gone.csv"], "gone.csv: no such file"),
        (["--reports=gone.parquet"], "gone.parquet: no such file"),
        (["--encoder.name=opera"], "no encoder opera; there are opera-ct"),
        (["--objective.text=head"], "set it to 0 with objective.text = head"),
    ],
)
def test_wrong_input_gives_one_line_and_status_2(
    corpus: Aligned, tmp_path: Path, change: list[str], message: str
) -> None:
    finished = run(*flags(corpus, tmp_path / "out", *change))
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert message in finished.stderr


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpora": ["circor"]}, "no corpus circor"),
        ({"batch_size": 4000}, "do not fill a batch of 4000"),
        ({"teacher": {"model": "/gone"}}, "/gone: no such folder"),
    ],
)
def test_what_only_a_look_at_data_and_weights_can_tell_is_one_line_too(
    corpus: Aligned, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        train(settings(corpus, tmp_path / "out", **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": {"name": "scratch-conv", "checkpoint": "a.ckpt"}}, "scratch-conv has no published weights"),
        ({"reports": __file__}, "no table with the columns path and report"),
    ],
)
def test_what_is_told_at_once_is_told_before_recordings_are_decoded(
    corpus: Aligned, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(settings(corpus, tmp_path / "out", **change))
    assert "decode" not in capsys.readouterr().err


def test_demonstration_needs_no_data_and_keeps_its_corpus(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    short = ("--preset=demo", f"--output={output}", "--epochs=1", f"--teacher_cache={tmp_path / 'teacher'}")
    finished = run(*short)
    assert finished.returncode == 0, finished.stderr[-2000:]
    assert f"next: python -m align.evaluate --aligned {output}" in finished.stdout
    assert not [line for line in finished.stderr.splitlines() if "Tip" in line or "site-packages" in line]
    figures = json.loads((output / "metrics.json").read_text())
    assert figures["validation/auroc_murmur"] > 0.6
    corpus = {path: path.stat().st_mtime_ns for path in (output / "corpus").iterdir()}
    assert run(*short).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (output / "corpus").iterdir()} == corpus
