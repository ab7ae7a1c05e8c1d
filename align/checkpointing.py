"""Checkpoints that a full disk cannot spoil, and what of them the next stage opens."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from align.encoders import EncoderError, EncoderSpec, build_encoder
from align.encoders.base import Encoder
from align.files import write_whole
from align.runs import NO_ROOM
from edge.errors import UserError, first_line

WEIGHTS, SPEC = "encoder.safetensors", "encoder.json"

UNREADABLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    pickle.UnpicklingError,
)
"""What torch raises for a file that is damaged or that it never wrote: any byte may be an instruction to its reader."""
PARTS = {"state_dict", "optimizer_states", "pytorch-lightning_version"}
"""What Lightning needs of a checkpoint to go on from it."""


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there: the last good one stays until the next is on disk."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:  # noqa: ARG002
        """Write it whole or not at all.

        Raises:
            UserError: the disk is full or cannot be written.
        """
        target = Path(path)
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_bytes(target, buffer.getvalue())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that it holds either all of `content` or what it held before.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        hint = (
            "free some space and run the same command again: it goes on from the last checkpoint"
            if error.errno in NO_ROOM
            else "name another output"
        )
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); {hint}") from error


def read_resumable(checkpoint: Path) -> dict[str, Any]:
    """What a training left to go on from, tensors on the CPU; nothing where there is no such file.

    Raises:
        UserError: it is damaged, or no training left it.
    """
    if not checkpoint.is_file():
        return {}
    way_out = "remove it to train from the beginning, or name another --output"
    try:
        stored: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise UserError(f"{checkpoint}: damaged; {way_out}") from error
    if not isinstance(stored, dict) or PARTS - stored.keys():
        raise UserError(f"{checkpoint}: nothing that a training can go on from; {way_out}")
    return stored


def refuse_other_weights(checkpoint: Mapping[str, Any], module: nn.Module) -> None:
    """Stop if the weights that a training is to go on from are of another architecture than its own.

    Raises:
        UserError: that is so; a tensor that differs is named.
    """
    stored, own = (
        {name: tuple(value.shape) for name, value in state.items()}
        for state in (checkpoint["state_dict"], module.state_dict())
    )
    differing = sorted(name for name in stored.keys() | own.keys() if stored.get(name) != own.get(name))
    if differing:
        raise UserError(
            f"the checkpoint to go on from is of another architecture: {differing[0]} (and {len(differing) - 1} more) "
            "is missing or of another shape; remove it to train from the beginning, or name another --output"
        )


def epochs_done(checkpoint: Path) -> int:
    """How many epochs a checkpoint has behind it; 0 where there is none.

    Raises:
        UserError: it is damaged.
    """
    return int(read_resumable(checkpoint).get("epoch", -1)) + 1


def save_encoder(folder: Path, encoder: Encoder, spec: EncoderSpec) -> None:
    """Leave an encoder for the next stage: weights and how to build it.

    Raises:
        UserError: the folder cannot be written.
    """
    weights = {name: value.contiguous() for name, value in encoder.state_dict().items()}
    write_bytes(folder / WEIGHTS, save(weights))
    write_bytes(folder / SPEC, (json.dumps(spec.model_dump(), indent=2) + "\n").encode())


def load_encoder(folder: Path) -> Encoder:
    """The encoder that a training left in its folder, in evaluation mode.

    Raises:
        EncoderError: there is none, or its weights are of another architecture.
    """
    for name in (WEIGHTS, SPEC):
        if not (folder / name).is_file():
            raise EncoderError(f"{folder / name}: no such file; give the output of a finished python -m align.train")
    try:
        spec = EncoderSpec(**json.loads((folder / SPEC).read_text(encoding="utf-8")))
        # The published weights are not needed any more: all tensors come from the file beside.
        encoder = build_encoder(spec if spec.name == "transformers" else spec.model_copy(update={"checkpoint": ""}))
        weights = load_file(folder / WEIGHTS)
    except EncoderError:
        raise
    except (ValueError, TypeError, SafetensorError) as error:
        raise EncoderError(f"{folder}: not an encoder of align.train ({first_line(error)})") from error
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:
        raise EncoderError(f"{folder / WEIGHTS}: not the weights of {spec.name} as {SPEC} describes it") from error
    return encoder.eval()
