"""What adapters share: finding files whatever their case, tables whatever their separator, spreadsheets, numbers.

Names and headers of downloaded corpora differ in upper and lower case and stray spaces between releases and operating
systems, so both are ignored. What the file system refuses becomes one line. Nothing here knows a corpus, and no audio
is opened.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

from align.corpora.recording import CorpusError

UNKNOWN = {"", "nan", "na", "n/a", "null", "unknown"}
"""How corpora write that a value is not known."""

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".webm", ".m4a")

Mark = tuple[float, float, str]
"""Onset and offset in seconds, and what is there."""


@contextmanager
def told(place: str | Path) -> Iterator[None]:
    """Turn what the file system refuses inside into one line that begins with `place`.

    Raises:
        CorpusError: a file or folder is there but cannot be read, or cannot even be looked for.
    """
    try:
        yield
    except OSError as error:
        what = "" if error.filename is None or str(error.filename) == str(place) else f"{error.filename} "
        raise CorpusError(f"{place}: {what}cannot be read ({error.strerror or error})") from error


def find(root: Path, corpus: str, *names: str) -> Path:
    """The first of `names` (relative, `/` between folders) that is under `root`, in any case.

    Raises:
        CorpusError: none is there, or `root` itself is not. The message says what was looked for.
    """
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder; --root is the folder into which {corpus} was unpacked")
    for name in names:
        found = look(root, name)
        if found is not None:
            return found
    raise CorpusError(f"{root}: does not look like {corpus}: no {' and no '.join(names)} in it")


def look(root: Path, name: str) -> Path | None:
    """The file or folder `name` (relative) under `root` in any case, or None."""
    here = root
    for part in name.split("/"):
        if (here / part).exists():
            here /= part
            continue
        wanted = part.casefold()
        matches = sorted(child for child in _children(here) if child.name.strip().casefold() == wanted)
        if not matches:
            return None
        here = matches[0]
    return here


def audio_files(folder: Path, pattern: str = "*") -> list[Path]:
    """Audio files under `folder` that match the glob `pattern`, sorted; hidden ones, as macOS leaves them, left out.

    Raises:
        OSError: `folder` cannot be read.
    """
    # Globbing finds nothing in a folder that it may not read, and half a corpus would be missing without a word.
    with os.scandir(folder):
        pass
    return sorted(
        path
        for path in folder.glob(pattern)
        if path.suffix.casefold() in AUDIO_SUFFIXES and not path.name.startswith("._") and path.is_file()
    )


def named(
    paths: Iterable[Path], pattern: re.Pattern[str], problems: list[str]
) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Files whose name without suffix is of the `pattern`, with its groups; each of the others becomes a problem."""
    for path in paths:
        name = pattern.fullmatch(path.stem.strip())
        if name is None:
            problems.append(f"{path}: not a name of this corpus")
        else:
            yield path, name.groups()


def read_rows(path: Path, *columns: str) -> list[dict[str, str]]:
    """Rows of a table with a header, separated by comma, semicolon or tab: lower-case column name to stripped cell.

    Raises:
        CorpusError: not a readable table, or one of `columns` is not in it.
    """
    lines = read_cells(path)
    header = [name.casefold() for name in lines[0]] if lines else []
    missing = [name for name in columns if name.casefold() not in header]
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(missing)}; its columns are {', '.join(header) or 'none'}")
    return [dict(zip_longest(header, cells[: len(header)], fillvalue="")) for cells in lines[1:]]


def read_cells(path: Path) -> list[list[str]]:
    """Stripped cells of every line that is not empty, of a table separated by comma, semicolon or tab.

    Raises:
        CorpusError: not a readable table.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            first = stream.readline()
            stream.seek(0)
            separator = max(",;\t", key=first.count)
            lines = [[cell.strip() for cell in cells] for cells in csv.reader(stream, delimiter=separator)]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: not a readable table ({error})") from error
    return [cells for cells in lines if any(cells)]


def read_sheet(path: Path) -> list[list[str]]:
    """Cells of the first sheet of an .xls or .xlsx file, from A1, as text; whole numbers without a decimal point.

    Raises:
        CorpusError: not a readable spreadsheet.
    """
    from python_calamine import CalamineError, CalamineWorkbook

    try:
        rows = CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python(skip_empty_area=False)
    except (OSError, CalamineError) as error:
        raise CorpusError(f"{path}: not a readable spreadsheet ({error})") from error
    return [[_as_text(cell) for cell in row] for row in rows]


def known(cells: Mapping[str, str]) -> dict[str, str]:
    """The cells whose value is known."""
    return {name: value for name, value in cells.items() if value.casefold() not in UNKNOWN}


def to_number(text: str) -> float | None:
    """A number, or None; a decimal comma and the stars of spirometers are understood."""
    try:
        number = float(text.replace("*", "").replace(",", ".").strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def to_sex(text: str) -> str:
    """`female` or `male`, or nothing where somebody is neither or would not say."""
    return {"f": "female", "female": "female", "m": "male", "male": "male"}.get(text.strip().casefold(), "")


def to_marks(where: Path, marks: Iterable[tuple[str, str, str]], unit_s: float = 1.0) -> tuple[list[Mark], list[str]]:
    """Marks from a corpus's own (start, end, label) texts in units of `unit_s` seconds.

    Returns:
        Those that are in order, sorted, and a problem for each of the others.
    """
    found, problems = [], []
    for start, end, label in marks:
        onset, offset = to_number(start), to_number(end)
        if onset is None or offset is None or not 0 <= onset < offset:
            problems.append(f"{where}: the mark {start}-{end} does not end after it starts")
            continue
        found.append((onset * unit_s, offset * unit_s, label))
    return sorted(found), problems


def to_spans(marks: Iterable[Mark]) -> tuple[tuple[float, float], ...]:
    """The times of marks, without what is there."""
    return tuple((onset, offset) for onset, offset, _ in marks)


def to_text(marks: Sequence[Mark]) -> str:
    """Marks as a metadata column holds them: `onset-offset:label;...`."""
    return ";".join(f"{onset:g}-{offset:g}:{label}" for onset, offset, label in marks)


def _children(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _as_text(cell: object) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()
