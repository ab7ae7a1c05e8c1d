"""A corpus of one's own: a CSV with `path`, `group`, `split` and any label or metadata columns.

Paths are relative to the CSV's folder. Recognised columns: `corpus`, `modality`, `event`, `cough_times`
(`onset-offset;onset-offset` in seconds), `licence`; every other column becomes metadata. Which of these a task predicts
is the task's choice, so `labels` stays empty.

`read_table` stops at the first mistake, for programs that train; `read` lists every mistake, for a look at the corpus.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

from align.corpora.reading import find, told
from align.corpora.recording import CorpusError, Listing, Recording, Split
from align.corpora.splits import refuse_leaks

NAME = "table"
REQUIRED = ("path", "group", "split")
SPLITS: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
KNOWN = {*REQUIRED, "corpus", "modality", "event", "cough_times", "licence"}


def read(root: Path) -> Listing:
    """List the rows of `recordings.csv` in the folder `root`, or of `root` itself where that is a file.

    Raises:
        CorpusError: there is no such table, it is no CSV, or a column is missing.
    """
    table = root if root.is_file() else find(root, NAME, "recordings.csv")

    def row_or_problem(where: str, cells: dict[str, str]) -> Recording | str:
        try:
            return _recording(table, where, cells)
        except CorpusError as error:
            return str(error)

    rows = [row_or_problem(where, cells) for where, cells in _lines(table)]
    recordings = [row for row in rows if isinstance(row, Recording)]
    return Listing(recordings, [row for row in rows if isinstance(row, str)] + _repeated(table, recordings))


def read_table(path: Path) -> list[Recording]:
    """Read every row of the CSV at `path`.

    Raises:
        CorpusError: the file is missing or no CSV, a column or file is missing, a value is malformed, or a group is in
            two splits. The message names the line.
    """
    with told(path):
        if not path.is_file():
            raise CorpusError(f"{path}: no such file; give the CSV that lists the recordings")
        rows = []
        for where, cells in _lines(path):
            row = _recording(path, where, cells)
            with told(where):
                if not row.path.is_file():
                    raise CorpusError(f"{where}: no file {row.path}")
            rows.append(row)
    for problem in _repeated(path, rows):
        raise CorpusError(problem)
    refuse_leaks(str(path), rows)
    return rows


def _lines(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Place and cells of each line.

    Raises:
        CorpusError: no readable CSV, or a needed column is not in it.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{path}: no column {', '.join(missing)}; a corpus table needs path, group and split")
            for row in reader:
                cells = {name: (value or "").strip() for name, value in row.items() if name}
                yield f"{path}, line {reader.line_num}", cells
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a readable CSV ({error})") from error


def _recording(table: Path, where: str, cell: dict[str, str]) -> Recording:
    if cell["split"] not in SPLITS:
        raise CorpusError(f"{where}: split is '{cell['split']}'; write train, validation or test")
    if not cell["group"] or not cell["path"]:
        raise CorpusError(f"{where}: path and group must not be empty")
    return Recording(
        path=table.parent / cell["path"],
        corpus=cell.get("corpus") or table.stem,
        group=cell["group"],
        split=SPLITS[cell["split"]],
        modality=cell.get("modality") or "airborne",
        event=cell.get("event", ""),
        times_s=_times(where, cell.get("cough_times", "")),
        licence=cell.get("licence", ""),
        metadata={name: value for name, value in cell.items() if value and name not in KNOWN},
    )


def _times(where: str, text: str) -> tuple[tuple[float, float], ...]:
    spans = []
    for span in filter(None, text.split(";")):
        try:
            onset, offset = (float(part) for part in span.split("-"))
        except ValueError:
            raise CorpusError(f"{where}: cough_times has '{span}'; write onset-offset in seconds, 0.52-0.97") from None
        if not onset < offset < math.inf:
            raise CorpusError(f"{where}: cough_times has '{span}', which does not end after it starts")
        spans.append((onset, offset))
    return tuple(sorted(spans))


def _repeated(path: Path, rows: list[Recording]) -> list[str]:
    seen: set[Path] = set()
    repeated = []
    for row in rows:
        if row.path in seen:
            repeated.append(f"{path}: {row.path} is listed twice; list a recording once, with its person")
        seen.add(row.path)
    return repeated
