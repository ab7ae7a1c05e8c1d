"""Labels of which too few recordings were held out to say how well they are detected: they do not ship.

Held out is what the training did not hear: the validation and test splits. A figure of 29 clips of three people would
look like any other figure on a card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from align.corpora import Recording
from align.corpora.recording import Split
from distill.student import Student
from quantize.checkpoint import Checkpoint
from quantize.errors import ExportError

LEAST_CLIPS, LEAST_SOURCES = 30, 10


@dataclass(frozen=True)
class LeftOut:
    """A label that the student knows and the bundle does not."""

    label: str
    clips: int
    sources: int
    """People or, where a corpus names none, recordings."""

    @property
    def reason(self) -> str:
        """Why, in words."""
        return (
            f"{self.clips} held-out recordings from {self.sources} sources; {LEAST_CLIPS} from {LEAST_SOURCES} are "
            "needed to say how well it is detected"
        )


def scarce(labels: Sequence[str], splits: Mapping[Split, Sequence[Recording]]) -> tuple[LeftOut, ...]:
    """The labels with too few held-out recordings or too few sources of them.

    Raises:
        ExportError: no label would be left.
    """
    held_out = [*splits["validation"], *splits["test"]]
    found = []
    for label in labels:
        rows = [row for row in held_out if row.event == label]
        left_out = LeftOut(label, len(rows), len({row.group for row in rows}))
        if left_out.clips < LEAST_CLIPS or left_out.sources < LEAST_SOURCES:
            found.append(left_out)
    if len(found) == len(labels):
        raise ExportError(f"no label can ship: {found[0].label} has {found[0].reason}")
    return tuple(found)


def without(checkpoint: Checkpoint, left_out: Sequence[LeftOut]) -> Checkpoint:
    """The checkpoint with a student that has no scores for these labels; all else is the same."""
    names = {one.label for one in left_out}
    if not names:
        return checkpoint
    kept = [column for column, label in enumerate(checkpoint.labels) if label not in names]
    student = Student(replace(checkpoint.student.shape, labels=len(kept)))
    weights = checkpoint.student.state_dict()
    for head in ("step_head", "window_head"):
        for part in ("weight", "bias"):
            weights[f"{head}.{part}"] = weights[f"{head}.{part}"][kept]
    student.load_state_dict(weights)
    return replace(checkpoint, student=student.eval(), labels=tuple(checkpoint.labels[column] for column in kept))
