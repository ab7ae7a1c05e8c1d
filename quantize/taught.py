"""Open what `distill.teach` left: a student that answers questions about recordings, ready for the exporter.

What it says of a whole window becomes a score that is the same at every step of it. Labels that do not ship are cut out
of the student's head. Labels made of text alone do not ship, since no recording says what they are worth; the texts'
directions may, as `prompts.npz` beside the graphs. Opens files; judges nothing (`quantize.questions` does).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from align.tasks import Task
from distill.checkpoint import TaughtStudent, load_student
from distill.student import Student
from quantize.checkpoint import Checkpoint, corpus_of, created
from quantize.errors import CheckpointError

PROMPTS = "prompts.npz"


@dataclass(frozen=True)
class Taught:
    """A student with the labels that ship, and what each of them answers."""

    checkpoint: Checkpoint
    questions: tuple[Task, ...]
    """In the order of the labels."""
    hop_s: float
    include_corpora: frozenset[str]
    """Empty: all."""
    source: TaughtStudent

    def write_prompts(self, folder: Path) -> None:
        """Leave the directions of the labels made of text, (n, embedding_size) float32, with their names, if any.

        The dot product of one with a window's embedding is the label's logit, up to a constant.
        """
        text = self.source.text
        if text and len(text["names"]):
            prompts = text["prompts"].detach().numpy().astype(np.float32)
            np.savez(folder / PROMPTS, prompts=prompts, names=np.array(list(text["names"])))


def is_taught(path: Path) -> bool:
    """Whether this is a student of `distill.teach`; a file that cannot be read is none."""
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        return "label_specs" in stored["hyper_parameters"]
    except Exception:  # torch raises what it likes for damaged files; whoever opens it as something else tells
        return False


def load_taught(path: Path, labels: Sequence[str]) -> Taught:
    """Open the student with these labels, or with all that were taught.

    Raises:
        StudentError: the file is damaged.
        CheckpointError: a label that it has not, or that cannot ship.
    """
    source = load_student(path)
    specs = {spec.name: spec for spec in source.labels}
    wanted = tuple(labels) or tuple(spec.name for spec in source.labels if spec.origin == "taught")
    questions = []
    for name in wanted:
        if name not in specs:
            raise CheckpointError(f"{path}: no label {name}, only {', '.join(specs)}")
        task = specs[name].task
        if task is None:
            raise CheckpointError(
                f"{path}: label {name} answers no question about whole recordings, so that nothing tells what it is "
                "worth; leave it out of --labels"
            )
        questions.append(task)
    if not questions:
        raise CheckpointError(f"{path}: no label was taught by recordings, so that there is nothing to ship")
    data = source.data
    return Taught(
        Checkpoint(
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            created=created(path),
            student=_with_labels(source, wanted),
            front_end=source.front_end,
            labels=wanted,
            window_s=source.window_s,
            seed=int(data["seed"]),
            validation_share=float(data["validation_share"]),
            exclude_corpora=frozenset(data.get("exclude_corpora", ())),
            corpora=tuple(corpus_of(corpus) for corpus in data["corpora"]),
        ),
        tuple(questions),
        source.hop_s,
        frozenset(data.get("include_corpora", ())),
        source,
    )


def _with_labels(source: TaughtStudent, wanted: Sequence[str]) -> Student:
    """A copy of the student that has these labels of the whole window and no others, in this order."""
    names = [spec.name for spec in source.labels]
    rows = [names.index(name) for name in wanted]
    state = source.student.state_dict()
    kept = {name: value for name, value in state.items() if not name.startswith("step_head.")}
    kept |= {name: state[name][rows] for name in ("window_head.weight", "window_head.bias")}
    student = Student(replace(source.student.shape, labels=len(rows), clip_labels=len(rows)))
    student.load_state_dict(kept)
    return student.eval()
