"""What a taught student's checkpoint holds: the one description of the file that `distill.teach` leaves.

`student.ckpt` is a dictionary of plain values and tensors that `torch.load(..., weights_only=True)` opens. It has the
keys that `distill.train` gives its checkpoints, so that the next stage opens both alike, and some of its own:

    hyper_parameters
        shape         numbers of `distill.student.StudentShape`; its last `clip_labels` labels are of the whole window
        labels        names, in the order of the scores' columns: of steps first, then of the window
        label_specs   for each label: name, kind (clip or frame), origin (taught or text), and what it was made from
        front_end     numbers of `edge.manifest.FrontEnd`
        window_s      seconds heard at once
        hop_s         seconds from one window to the next that the training proposes
        data          corpora that were heard (name, licences, recordings); include_corpora, exclude_corpora;
                      validation_share and seed, which give the validation people again (`align.corpora.hold_out`);
                      person, the column whose values are persons
        taught_by     which teacher: encoder, SHA-256 of its weights, parameters
    state_dict        `student.` + the names of `distill.student.Student`, float32
    text              only where the teacher was aligned to a language model: `map`, which leads from the student's
                      embedding to the language model's space, so that a label can be added by text alone
                      (`distill.prompts.TextMap`); `prompts`, (labels made of text, embedding_size) float32, and `names`

Heads are calibrated already: a score of a clip label that was taught is a probability in the validation people's mix,
and needs nothing but the sigmoid. That of a label made of text is a rank: 0.5 is the average training recording.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from align.checkpointing import UNREADABLE, write_bytes
from align.tasks import Task
from distill.student import Student, StudentShape
from edge.errors import UserError, first_line
from edge.manifest import FrontEnd

NAME = "student.ckpt"
PREFIX = "student."
PERSON = "group"
"""The column of a table of recordings whose values are persons (`align.corpora.table`)."""


class StudentError(UserError, ValueError):
    """A file that is no student, or one that cannot do what is asked."""


class LabelSpec(BaseModel):
    """One column of the scores, and what it was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    kind: Literal["clip", "frame"]
    """Whether its score is of the whole window or of a step."""
    origin: Literal["taught", "text"] = "taught"
    task: Task | None = None
    """The question that a clip label answers; nothing for a frame label, whose name is an event.

    Of a label made of text, the question whose answers it can be scored against, if there is one."""
    positive: str = ""
    negative: str = ""
    """The two texts between which a label made of text decides."""
    temperature: float = 1.0
    """What its logits were divided by, on validation people; the weights have it already."""


@dataclass(frozen=True)
class TaughtStudent:
    """A student, what it hears and what it says."""

    student: Student
    """On the CPU, in evaluation mode."""
    labels: tuple[LabelSpec, ...]
    front_end: FrontEnd
    window_s: float
    hop_s: float
    data: Mapping[str, Any]
    taught_by: Mapping[str, Any]
    text: Mapping[str, Any] | None = None

    @property
    def window_samples(self) -> int:
        """Samples heard at once."""
        return round(self.window_s * self.front_end.sample_rate_hz)

    def contents(self) -> dict[str, Any]:
        """What the file holds."""
        given: dict[str, Any] = {
            "hyper_parameters": {
                "shape": asdict(self.student.shape),
                "labels": tuple(label.name for label in self.labels),
                "label_specs": [label.model_dump(mode="json") for label in self.labels],
                "front_end": self.front_end.model_dump(),
                "window_s": self.window_s,
                "hop_s": self.hop_s,
                "data": dict(self.data),
                "taught_by": dict(self.taught_by),
            },
            "state_dict": {PREFIX + name: value.detach() for name, value in self.student.state_dict().items()},
        }
        return given if self.text is None else given | {"text": dict(self.text)}

    def with_label(self, label: LabelSpec, weight: Tensor, bias: Tensor) -> TaughtStudent:
        """The student with one more label of the whole window, the last; a label of that name is replaced.

        Args:
            label: a clip label.
            weight: (embedding_size,) of its row of the window's head.
            bias: scalar.

        Raises:
            StudentError: a frame label has the name.
        """
        names = [known.name for known in self.labels]
        old = names.index(label.name) if label.name in names else None
        if label.kind != "clip" or (old is not None and self.labels[old].kind == "frame"):
            raise StudentError(f"label {label.name} is of steps; only a label of the whole window can be added")
        kept = [row for row in range(len(names)) if row != old]
        head = self.student.window_head
        weights = torch.cat([head.weight.detach()[kept], weight.reshape(1, -1).to(head.weight.dtype)])
        biases = torch.cat([head.bias.detach()[kept], bias.reshape(1).to(head.bias.dtype)])
        shape = self.student.shape
        frames = shape.labels - shape.clip_labels
        grown = Student(replace(shape, labels=len(kept) + 1, clip_labels=len(kept) + 1 - frames))
        state = {**self.student.state_dict(), "window_head.weight": weights, "window_head.bias": biases}
        grown.load_state_dict(state)
        return replace(self, student=grown.eval(), labels=(*(self.labels[row] for row in kept), label))

    def with_text(self, text_map: Mapping[str, Any], names: Sequence[str], rows: Sequence[Tensor]) -> TaughtStudent:
        """The student with its text map (`distill.prompts.TextMap.state`) and the rows of the labels made of text."""
        size = self.student.shape.embedding_size
        prompts = torch.stack(list(rows)) if rows else torch.zeros(0, size)
        return replace(self, text={"map": dict(text_map), "prompts": prompts, "names": tuple(names)})


def save_student(path: Path, taught: TaughtStudent) -> None:
    """Write the file whole or not at all.

    Raises:
        UserError: it cannot be written.
    """
    buffer = io.BytesIO()
    torch.save(taught.contents(), buffer)
    write_bytes(path, buffer.getvalue())


def load_student(path: Path) -> TaughtStudent:
    """Open the file; nothing in it is executed.

    Raises:
        StudentError: it is missing, damaged, or of another program.
    """
    if not path.is_file():
        raise StudentError(f"{path}: no such file; give the {NAME} that python -m distill.teach left")
    try:
        stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise StudentError(f"{path}: no checkpoint, or a damaged one; teach again into another --output") from error
    if not isinstance(stored, dict) or "label_specs" not in stored.get("hyper_parameters", {}):
        raise StudentError(f"{path}: not a student of distill.teach; give the {NAME} that it left")
    try:
        given = stored["hyper_parameters"]
        student = Student(StudentShape(**given["shape"]))
        weights = stored["state_dict"].items()
        student.load_state_dict({name[len(PREFIX) :]: value for name, value in weights if name.startswith(PREFIX)})
        return TaughtStudent(
            student.eval(),
            TypeAdapter(tuple[LabelSpec, ...]).validate_python(given["label_specs"]),
            FrontEnd(**given["front_end"]),
            float(given["window_s"]),
            float(given["hop_s"]),
            given["data"],
            given["taught_by"],
            stored.get("text"),
        )
    except (ValidationError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise StudentError(f"{path}: does not fit this version of distill.teach ({first_line(error)})") from error
