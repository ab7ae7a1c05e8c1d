"""One row of a corpus, the same for every corpus.

It describes a recording; it does not open it (`align.audio` does).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge.errors import UserError

Split = Literal["train", "validation", "test"]


class CorpusError(UserError, ValueError):
    """A corpus that is missing, misspelt or leaks people between splits."""


@dataclass(frozen=True)
class Recording:
    """A recording and what is known about it."""

    path: Path
    corpus: str
    group: str
    """The person, or the source where persons are not known. A group never crosses splits."""
    split: Split
    modality: str
    """`airborne`, `heart` or `lung`."""
    event: str
    """What is heard, in the corpus's own word; empty when unknown."""
    times_s: tuple[tuple[float, float], ...] = ()
    """Hand-marked (onset, offset) of each event in seconds; empty when nobody marked them."""
    licence: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    """Every other column, as text; an unknown value is absent, not empty."""
    labels: dict[str, str] = field(default_factory=dict)
    """What a task may predict, name to value as text; numbers have their unit in the name. Unknown is absent."""


@dataclass(frozen=True)
class Listing:
    """What an adapter found in the folder of a corpus."""

    recordings: list[Recording]
    """Every recording that the corpus lists, whether its file is there or not."""
    problems: list[str] = field(default_factory=list)
    """What this copy lacks or what was not understood, one line each, with its place."""
    notes: list[str] = field(default_factory=list)
    """What was decided on the way: rows left out on purpose, people moved between splits."""
