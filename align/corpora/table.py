"""A corpus of one's own: a CSV with `path`, `group`, `split` and any label or metadata columns.

Paths are relative to the CSV's folder. Recognised columns: `corpus`, `modality`, `event`, `cough_times`
(`onset-offset;onset-offset` in seconds), `licence`; every other column becomes metadata.
"""

from __future__ import annotations

import csv
from pathlib import Path

from align.corpora.recording import CorpusError, Recording, Split

REQUIRED = ("path", "group", "split")
SPLITS: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
KNOWN = {*REQUIRED, "corpus", "modality", "event", "cough_times", "licence"}


def read_table(path: Path) -> list[Recording]:
    """Read every row of the CSV at `path`.

    Raises:
        CorpusError: the file is missing or no CSV, a column or file is missing, a value is malformed, or a group is in
            two splits. The message names the line.
    """
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; give the CSV that lists the recordings")
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
            if missing:
                raise CorpusError(f"{path}: no column {', '.join(missing)}; a corpus table needs path, group and split")
            rows = [_recording(path, reader.line_num, row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a readable CSV ({error})") from error
    _refuse_leaks(path, rows)
    return rows


def _recording(table: Path, line: int, row: dict[str, str | None]) -> Recording:
    where = f"{table}, line {line}"
    cell = {name: (value or "").strip() for name, value in row.items() if name}
    if cell["split"] not in SPLITS:
        raise CorpusError(f"{where}: split is '{cell['split']}'; write train, validation or test")
    if not cell["group"] or not cell["path"]:
        raise CorpusError(f"{where}: path and group must not be empty")
    audio = table.parent / cell["path"]
    if not audio.is_file():
        raise CorpusError(f"{where}: no file {audio}")
    return Recording(
        path=audio,
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
        if not 0 <= onset < offset:
            raise CorpusError(f"{where}: cough_times has '{span}', which does not end after it starts")
        spans.append((onset, offset))
    return tuple(sorted(spans))


def _refuse_leaks(path: Path, rows: list[Recording]) -> None:
    split_of: dict[str, Split] = {}
    seen: set[Path] = set()
    for row in rows:
        if row.path in seen:
            raise CorpusError(f"{path}: {row.path} is listed twice; list a recording once, with its person")
        seen.add(row.path)
        first = split_of.setdefault(row.group, row.split)
        if first != row.split:
            raise CorpusError(f"{path}: group {row.group} is in {first} and in {row.split}; keep a person in one split")
