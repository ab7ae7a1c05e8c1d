"""Reads what a recording holds and what was heard in it: a reference table and a file of events.

Reference: a tab-separated file with a header naming `file`, `onset`, `offset` and `label` (seconds from the file's
start), in any order. An optional column `recording_s` gives the length of the recording, on one or all of its rows. A
row with empty onset, offset and label declares a recording and nothing in it; that is how recordings without events
enter the count of false alarms. Rows of other labels declare their recording too.

Events: the JSON lines of `python -m edge replay`, of which `file`, `label` and `onset_s` are used. A detection belongs
to the reference's file of the same path, or of a path that ends in the other ("data/ward/a.wav" is "ward/a.wav").

Nothing is matched or counted here; that is `edge.scoring`.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from edge.errors import UserError

_COLUMNS = ("file", "onset", "offset", "label")
_WANTED = "give seconds from the start of the file, such as 12.34"


@dataclass(frozen=True)
class Recording:
    """What one recording holds and what was heard in it, onsets in seconds; `recording_s` is None when not known."""

    name: str
    reference_s: tuple[float, ...] = ()
    detected_s: tuple[float, ...] = ()
    recording_s: float | None = None


def read_recordings(reference: Path, events: Path, label: str) -> list[Recording]:
    """Read both files and join them, in the order of the reference.

    Raises:
        UserError: a file that cannot be read, a missing column, a value that is no time, a detection in a file that the
            reference does not name; each with file, line and what to do.
    """
    recordings = _read_reference(reference, label)
    names = _Names(recordings, reference)
    detected: dict[str, list[float]] = {}
    for where, event in _json_lines(events):
        file, name, onset = event.get("file"), event.get("label"), event.get("onset_s")
        if not isinstance(file, str) or not isinstance(name, str) or not isinstance(onset, int | float):
            raise UserError(f"{where}: needs file, label and onset_s (seconds); write the events with edge replay")
        recording, onset_s = names.recording_of(file, where), _checked(onset, "onset_s", where)
        if name == label:
            detected.setdefault(recording, []).append(onset_s)
    return [replace(r, detected_s=tuple(detected.get(r.name, ()))) for r in recordings.values()]


class _Names:
    """Which recording of the reference a file is, as the events name it."""

    def __init__(self, recordings: Iterable[str], reference: Path) -> None:
        self._reference = reference
        self._candidates: dict[str, list[str]] = {}
        for name in recordings:
            self._candidates.setdefault(PurePath(name).name, []).append(name)
        self._recordings: dict[str, str] = {}

    def recording_of(self, file: str, where: str) -> str:
        if file not in self._recordings:
            found = self._find(file, where)
            if found in self._recordings.values():
                raise UserError(f"{where}: {file} is a second file that stands for {found} of {self._reference}")
            self._recordings[file] = found
        return self._recordings[file]

    def _find(self, file: str, where: str) -> str:
        path = PurePath(file)
        candidates = self._candidates.get(path.name, [])
        if file in candidates:
            return file
        found = [name for name in candidates if _one_ends_the_other(path.parts, PurePath(name).parts)]
        if not found:
            raise UserError(
                f"{where}: {file} is not in {self._reference}; add a row, without times if it holds nothing"
            )
        if len(found) > 1:
            raise UserError(
                f"{where}: {file} could be {found[0]} or {found[1]} of {self._reference}; replay it by that path"
            )
        return found[0]


def _read_reference(path: Path, label: str) -> dict[str, Recording]:
    rows = csv.DictReader(_lines(path), delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = rows.fieldnames or ()
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise UserError(
            f"{path}, line 1: no column {missing[0]}; the header must name {', '.join(_COLUMNS)}, separated by tabs"
        )
    recordings: dict[str, Recording] = {}
    for row in rows:
        where = f"{path}, line {rows.line_num}"
        if None in row or None in row.values():
            raise UserError(f"{where}: has not {len(columns)} columns as the header does; separate them by tabs")
        name = row["file"]
        if not name:
            raise UserError(f"{where}: the file is empty; name the recording")
        held = recordings.get(name, Recording(name))
        if row.get("recording_s"):
            held = _with_length(held, _seconds(row["recording_s"], "recording_s", where), where)
        if row["onset"] or row["offset"] or row["label"]:
            onset, offset = (_seconds(row[column], column, where) for column in ("onset", "offset"))
            if offset < onset:
                raise UserError(f"{where}: the offset {offset:g} lies before the onset {onset:g}")
            if row["label"] == label:
                held = replace(held, reference_s=(*held.reference_s, onset))
        recordings[name] = held
    if not recordings:
        raise UserError(f"{path}: names no recording; add a row for each, with empty times where nothing happens")
    return recordings


def _with_length(recording: Recording, length_s: float, where: str) -> Recording:
    if recording.recording_s not in (None, length_s):
        raise UserError(
            f"{where}: {recording.name} is {recording.recording_s:g} s long further up and {length_s:g} s here"
        )
    return replace(recording, recording_s=length_s)


def _one_ends_the_other(a: tuple[str, ...], b: tuple[str, ...]) -> bool:
    length = min(len(a), len(b))
    return a[-length:] == b[-length:]


def _json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: is not JSON ({error}); write the events with edge replay") from None
        if not isinstance(event, dict):
            raise UserError(f"{where}: is not a JSON object; write the events with edge replay")
        yield where, event


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not a text file in UTF-8") from None


def _seconds(text: str, column: str, where: str) -> float:
    try:
        return _checked(float(text), column, where)
    except ValueError:
        raise UserError(f"{where}: {column} is {text!r}; {_WANTED}") from None


def _checked(value: float, column: str, where: str) -> float:
    if not math.isfinite(value) or value < 0:
        raise UserError(f"{where}: {column} is {value}; {_WANTED}")
    return float(value)
