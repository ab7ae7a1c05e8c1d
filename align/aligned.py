"""What `align.train` left in its folder, opened again: the whole task with its heads, and what it was trained on.

The encoder alone is opened by `align.checkpointing.load_encoder`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from align.checkpointing import UNREADABLE
from align.module import AlignmentTask
from align.tasks import Task
from align.teacher.spec import TeacherSpec
from align.validation import can_compare
from edge.errors import UserError, first_line

CHECKPOINT = "last.ckpt"
ARGUMENTS = {"encoder", "objective", "optimisation", "text_size", "tasks", "seed", "data"}
"""What `AlignmentTask` is made from; a checkpoint of another program has others."""


class AlignedError(UserError, ValueError):
    """A folder that holds no alignment, or one that cannot do what is asked."""


@dataclass(frozen=True)
class LearntFrom:
    """What an alignment was trained on and asked while it trained."""

    corpora: tuple[str, ...]
    """Empty means all that were in the table."""
    teacher: TeacherSpec
    tasks: tuple[Task, ...]


def load_task(folder: Path) -> AlignmentTask:
    """The task of a training, with the weights that were kept, on the CPU and in evaluation mode.

    Raises:
        AlignedError: there is none, or its audio and text cannot be compared.
        EncoderError: its encoder cannot be built on this machine.
    """
    checkpoint = read_checkpoint(folder)
    given = dict(checkpoint["hyper_parameters"])
    if given["encoder"].get("name") != "transformers":
        # The published weights are not needed any more: all tensors come from the checkpoint.
        given["encoder"] = {**given["encoder"], "checkpoint": ""}
    try:
        task = AlignmentTask(**given)
        task.load_state_dict(checkpoint["state_dict"])
    except (ValidationError, KeyError, TypeError, RuntimeError) as error:
        raise _not_ours(folder, first_line(error)) from error
    if not can_compare(task):
        raise AlignedError(
            f"{folder}: trained with objective {task.objective.name} and no pointwise term, which does not bring audio "
            "and reports into one space; train with --objective.pointwise 1, or with infonce or siglip"
        )
    return task.eval()


def read_learnt_from(folder: Path) -> LearntFrom:
    """What the training in a folder was trained on.

    Raises:
        AlignedError: there is none.
    """
    return learnt_from(folder, read_checkpoint(folder)["hyper_parameters"]["data"])


def learnt_from(folder: Path, data: dict[str, Any]) -> LearntFrom:
    """The same from the part `data` of a checkpoint's hyper-parameters; `folder` is for messages.

    Raises:
        AlignedError: something is missing or malformed.
    """
    try:
        return LearntFrom(
            tuple(data["corpora"]),
            TeacherSpec.model_validate(data["teacher"]),
            TypeAdapter(tuple[Task, ...]).validate_python(data["tasks"]),
        )
    except (ValidationError, KeyError, TypeError) as error:
        raise _not_ours(folder, first_line(error)) from error


def read_checkpoint(folder: Path) -> dict[str, Any]:
    """The checkpoint that a training left, tensors on the CPU; nothing in it is executed.

    Raises:
        AlignedError: there is none, it is damaged, or another program wrote it.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise AlignedError(f"{path}: no such file; give the output of python -m align.train as --aligned")
    try:
        checkpoint: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        # torch tells what it would have needed to trust the file; a user is helped by none of that.
        raise AlignedError(f"{path}: no checkpoint, or a damaged one; train again into another --output") from error
    found: dict[str, Any] = checkpoint if isinstance(checkpoint, dict) else {}
    given = found.get("hyper_parameters")
    if not isinstance(given, dict) or "state_dict" not in found or ARGUMENTS - given.keys():
        raise AlignedError(f"{path}: not a checkpoint of align.train; give the output of python -m align.train")
    return found


def _not_ours(folder: Path, detail: str) -> AlignedError:
    return AlignedError(f"{folder / CHECKPOINT}: does not fit this version of align.train ({detail}); train again")
