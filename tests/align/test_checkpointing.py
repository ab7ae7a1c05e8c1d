"""Files that a full disk cannot spoil, and an encoder that comes back as it was left."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from align.checkpointing import (
    SPEC,
    WEIGHTS,
    WholeCheckpointIO,
    epochs_done,
    load_encoder,
    read_resumable,
    refuse_other_weights,
    save_encoder,
    write_bytes,
)
from align.encoders import EncoderError, EncoderSpec, build_encoder
from edge.errors import UserError

CONV = EncoderSpec(name="scratch-conv", sample_rate_hz=4000, clip_s=1.5)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """A limit on the size of files stands for a full disk: the kernel refuses to write, in the middle of a file."""
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_encoder_comes_back_as_it_was_left(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = build_encoder(CONV)
    encoder(encoder.transform(torch.randn(4, 6000)))  # moves the running statistics, which are no parameters
    save_encoder(tmp_path, encoder, CONV)
    assert names(tmp_path) == {WEIGHTS, SPEC}
    loaded = load_encoder(tmp_path)
    assert not loaded.training
    assert (loaded.sample_rate_hz, loaded.clip_samples) == (4000, 6000)
    waveform = torch.randn(3, 6000)
    expected = encoder.eval()(encoder.transform(waveform))
    torch.testing.assert_close(loaded(loaded.transform(waveform)), expected)


def test_encoder_is_built_without_the_checkpoint_that_it_began_with(tmp_path: Path) -> None:
    encoder = build_encoder(CONV)
    save_encoder(tmp_path, encoder, CONV.model_copy(update={"checkpoint": "/gone/weights.pt"}))
    assert torch.equal(next(load_encoder(tmp_path).parameters()), next(encoder.parameters()))


def test_weights_of_another_architecture_are_one_line(tmp_path: Path) -> None:
    save_encoder(tmp_path, build_encoder(CONV), CONV)
    save_file({"layer.weight": torch.zeros(3, 3)}, tmp_path / WEIGHTS)
    told = f"{WEIGHTS}: not the weights of scratch-conv as {SPEC} describes it"
    with pytest.raises(EncoderError, match=told) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_rate_are_one_line(tmp_path: Path) -> None:
    save_encoder(tmp_path, build_encoder(CONV), CONV.model_copy(update={"sample_rate_hz": 16000}))
    with pytest.raises(EncoderError, match="not the weights of scratch-conv"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ('{"name": "scratch-con"}', "no encoder scratch-con; there are opera-ct"),
        ('{"name": "scratch-conv", "clip": 3}', "not an encoder of align.train"),
        ("[]", "not an encoder of align.train"),
        ('{"name": ', "not an encoder of align.train"),
        ("\xff", "not an encoder of align.train"),
    ],
)
def test_description_that_is_none_is_one_line(tmp_path: Path, spec: str, told: str) -> None:
    save_encoder(tmp_path, build_encoder(CONV), CONV)
    (tmp_path / SPEC).write_text(spec, encoding="latin-1")
    with pytest.raises(EncoderError, match=told) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_line(tmp_path: Path) -> None:
    save_encoder(tmp_path, build_encoder(CONV), CONV)
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:5000])
    with pytest.raises(EncoderError, match=r"not an encoder of align.train") as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", [WEIGHTS, SPEC])
def test_folder_of_an_unfinished_training_is_one_line(tmp_path: Path, missing: str) -> None:
    save_encoder(tmp_path, build_encoder(CONV), CONV)
    (tmp_path / missing).unlink()
    with pytest.raises(EncoderError, match=f"{missing}: no such file; give the output of a finished"):
        load_encoder(tmp_path)


def test_full_disk_keeps_the_encoder_that_was_there(tmp_path: Path) -> None:
    save_encoder(tmp_path, build_encoder(CONV), CONV)
    before = (tmp_path / WEIGHTS).read_bytes()
    with full_disk(10_000), pytest.raises(UserError, match=f"{WEIGHTS}: cannot be written .*; free some space"):
        save_encoder(tmp_path, build_encoder(CONV), CONV)
    assert (tmp_path / WEIGHTS).read_bytes() == before
    assert names(tmp_path) == {WEIGHTS, SPEC}


def test_full_disk_keeps_the_checkpoint_that_was_there(tmp_path: Path) -> None:
    keeper, path = WholeCheckpointIO(), tmp_path / "last.ckpt"
    keeper.save_checkpoint({"step": 1}, path)
    told = r"last\.ckpt: cannot be written \(File too large\); free some space and run the same command again"
    with full_disk(10_000), pytest.raises(UserError, match=told):
        keeper.save_checkpoint({"step": 2, "weights": torch.zeros(10_000)}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    assert names(tmp_path) == {"last.ckpt"}
    keeper.save_checkpoint({"step": 2}, path)
    assert torch.load(path, weights_only=True) == {"step": 2}


def leave(path: Path, **others: object) -> Path:
    """What a training leaves, as far as it is looked at."""
    stored = {"epoch": 2, "state_dict": {}, "optimizer_states": [], "pytorch-lightning_version": "2.6"}
    torch.save(stored | others, path)
    return path


def test_epochs_behind_a_checkpoint_are_counted(tmp_path: Path) -> None:
    assert epochs_done(tmp_path / "absent.ckpt") == 0
    assert epochs_done(leave(tmp_path / "last.ckpt")) == 3


def test_file_that_no_training_left_is_told(tmp_path: Path) -> None:
    torch.save({"epoch": 2, "state_dict": {}}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match=r"last\.ckpt: nothing that a training can go on from; remove it"):
        read_resumable(tmp_path / "last.ckpt")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_checkpoint_runs_no_code(tmp_path: Path) -> None:
    leave(tmp_path / "last.ckpt", callbacks=Touch(tmp_path / "run"))
    with pytest.raises(UserError, match=r"last\.ckpt: damaged; remove it"):
        read_resumable(tmp_path / "last.ckpt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "stored", [{"weight": torch.zeros(3, 4)}, {"weight": torch.zeros(3, 2), "extra": torch.ones(1)}]
)
def test_weights_of_another_shape_or_name_are_not_gone_on_from(stored: dict[str, torch.Tensor]) -> None:
    module = torch.nn.Linear(2, 3, bias=False)
    refuse_other_weights({"state_dict": {"weight": torch.zeros(3, 2)}}, module)
    with pytest.raises(UserError, match="is of another architecture"):
        refuse_other_weights({"state_dict": stored}, module)


def test_folder_is_made_for_a_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a" / "b" / "c.bin", b"content")
    assert (tmp_path / "a" / "b" / "c.bin").read_bytes() == b"content"


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/c\.bin: cannot be written"):
        write_bytes(tmp_path / "file" / "c.bin", b"content")
    with pytest.raises(UserError, match=f"file/{WEIGHTS}: cannot be written"):
        save_encoder(tmp_path / "file", build_encoder(CONV), CONV)
