"""Recordings paired with their reports: what a training, an evaluation and a retrieval open first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from align.clips import Clips
from align.corpora import CorpusError, hold_out
from align.corpora.inspection import SPLITS
from align.corpora.recording import Split
from align.corpora.splits import refuse_leaks
from align.retrieval import distinct
from edge.errors import first_line


@dataclass(frozen=True)
class Pairs:
    """Recordings of one split, each with its report."""

    clips: Clips
    reports: tuple[str, ...]
    """(recordings,)."""

    def __len__(self) -> int:
        return len(self.clips)


def read_reports(path: Path) -> dict[str, str]:
    """Reports by the name of their recording, from a file that `align.report` wrote.

    Raises:
        CorpusError: no such file, no Parquet, a column is missing, or a report is empty or no text.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; write it with python -m align.report")
    try:
        table = pq.read_table(path, columns=["path", "report"])
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError, KeyError) as error:
        raise CorpusError(f"{path}: no table with the columns path and report ({first_line(error)})") from error
    reports = dict(zip(table["path"].to_pylist(), table["report"].to_pylist(), strict=True))
    empty = [name for name, report in reports.items() if not isinstance(report, str) or not report.strip()]
    if empty:
        raise CorpusError(f"{path}: the report of {empty[0]} is empty or no text ({len(empty)} such); write it again")
    return reports


def pair(
    clips: Clips, reports: Mapping[str, str], source: Path, *, recordings: Path, validation_share: float, seed: int
) -> dict[Split, Pairs]:
    """Give every recording its report, and every person a split.

    Args:
        clips: recordings of all splits.
        reports: by the recording's name.
        source: of the reports, for messages.
        recordings: source of the clips, for messages.
        validation_share: as `divide`.
        seed: as `divide`.

    Raises:
        CorpusError: a recording has no report, or as `divide`.
    """
    own = reports_of(clips, reports, source)
    places = divide(clips, recordings, validation_share=validation_share, seed=seed)
    return {split: Pairs(clips.keep(kept), tuple(own[index] for index in kept)) for split, kept in places.items()}


def divide(clips: Clips, source: Path, *, validation_share: float, seed: int) -> dict[Split, list[int]]:
    """Places of the recordings of each split that has some.

    Where nobody is validated on yet, a share of the training people is held out.

    Args:
        clips: recordings of all splits.
        source: of the recordings, for messages.
        validation_share: of the training people.
        seed: of the draw.

    Raises:
        CorpusError: a person is in two splits, or a split that a training needs is empty.
    """
    refuse_leaks(str(source), clips.rows)
    rows = clips.rows
    if not any(row.split == "validation" for row in rows):
        rows = hold_out(rows, validation_share, seed)
    places: dict[Split, list[int]] = {}
    for split in SPLITS:
        if kept := [index for index, row in enumerate(rows) if row.split == split]:
            places[split] = kept
        elif split != "test":
            raise CorpusError(f"{source}: no recordings to use as {split}; more people are needed")
    return places


def reports_of(clips: Clips, reports: Mapping[str, str], source: Path) -> tuple[str, ...]:
    """(recordings,): the report of each recording, by its name; `source` of the reports is for messages.

    Raises:
        CorpusError: a recording has none.
    """
    missing = [key for key in clips.keys if key not in reports]
    if missing:
        raise CorpusError(
            f"{source}: has no report of {missing[0]} ({len(missing)} of {len(clips)} recordings are without); write "
            "them with python -m align.report from the same recordings"
        )
    return tuple(reports[key] for key in clips.keys)


def text_ids(reports: tuple[str, ...]) -> NDArray[np.int64]:
    """A number for each report, the same for equal ones."""
    return np.asarray(distinct(reports)[1], dtype=np.int64)
