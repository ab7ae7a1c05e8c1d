"""What is predicted from embeddings: a column of metadata, which of its values mean yes, and whose answer it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from align.corpora import CorpusError, Recording


class Task(BaseModel):
    """A yes-or-no question about a person or a recording."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="what it is called in tables")
    column: str = Field(description="label or column of metadata that holds the answer, or event")
    positive: tuple[str, ...] = Field(description="values that mean yes")
    negative: tuple[str, ...] = Field((), description="values that mean no; empty: every other value that is known")
    unit: Literal["person", "recording"] = Field(
        "person", description="person: the embeddings of all recordings of a person are averaged first"
    )

    def answer(self, row: Recording) -> float:
        """1 for yes, 0 for no, NaN for unknown."""
        value = row.event if self.column == "event" else (row.metadata | row.labels).get(self.column, "")
        if value in self.positive:
            return 1.0
        return 0.0 if (value in self.negative if self.negative else value) else float("nan")


@dataclass(frozen=True)
class Examples:
    """The units of which a task's answer is known."""

    features: NDArray[np.float32]
    """(units, width)."""
    answers: NDArray[np.bool_]
    """(units,)."""
    groups: tuple[str, ...]
    """The person of each unit."""


def examples(task: Task, rows: Sequence[Recording], embeddings: NDArray[np.float32]) -> Examples:
    """The task's units with a known answer, in order of their first recording.

    A person is positive if any of their recordings is.

    Args:
        task: the question.
        rows: recordings.
        embeddings: (len(rows), width).

    Raises:
        CorpusError: of nobody is the answer known.
    """
    answers = np.array([task.answer(row) for row in rows])
    known: list[int] = np.flatnonzero(~np.isnan(answers)).tolist()
    if not known:
        raise CorpusError(f"task {task.name}: no recording has {task.column} = {' or '.join(task.positive)}")
    units: dict[str, list[int]] = {}
    for index in known:
        units.setdefault(rows[index].group if task.unit == "person" else str(index), []).append(index)
    members = list(units.values())
    return Examples(
        np.stack([embeddings[indices].mean(axis=0) for indices in members]),
        np.array([answers[indices].max() == 1.0 for indices in members]),
        tuple(rows[indices[0]].group for indices in members),
    )
