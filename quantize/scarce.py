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
class HeldOut:
    """How many recordings of a sound the training did not hear."""

    label: str
    clips: int
    sources: int
    """People or, where a corpus names none, recordings."""

    @property
    def enough(self) -> bool:
        """Whether they can say how well it is detected."""
        return self.clips >= LEAST_CLIPS and self.sources >= LEAST_SOURCES


@dataclass(frozen=True)
class LeftOut(HeldOut):
    """A label that the student knows and the bundle does not."""

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
    counted = (LeftOut(label, *_held_out(label, splits)) for label in labels)
    found = [label for label in counted if not label.enough]
    if len(found) == len(labels):
        raise ExportError(f"no label can ship: {found[0].label} has {found[0].reason}")
    return tuple(found)


def never_labels(labels: Sequence[str], splits: Mapping[Split, Sequence[Recording]]) -> tuple[HeldOut, ...]:
    """Every other sound that held-out recordings are named after, the commonest first."""
    events = {row.event for split in ("validation", "test") for row in splits[split]} - {*labels, ""}
    counted = [HeldOut(event, *_held_out(event, splits)) for event in events]
    return tuple(sorted(counted, key=lambda event: (-event.clips, event.label)))


def _held_out(event: str, splits: Mapping[Split, Sequence[Recording]]) -> tuple[int, int]:
    rows = [row for row in (*splits["validation"], *splits["test"]) if row.event == event]
    return len(rows), len({row.group for row in rows})


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
