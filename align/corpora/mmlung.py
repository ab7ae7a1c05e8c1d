"""MMlung (on request): 40 people at a phone's microphone, with their spirometry.

Layout: `Trimmed Data from phone/<task>/<person>_<suffix>.wav` (some copies begin `Trimmed_Data`), of which deep breaths
(`9_3_deepbreath`) and a held vowel (`5_2_O_single`) are used here, and `spirometry_ground_truth/<person>_*.xls` with
FVC in cell B23, FEV1 in B24 and their ratio in B25, some with a star. Unverified: the layout is known from published
code only.

Split: none is official; by person. Published figures leave out one person at a time: do that over `group` where they
are to be compared. Labels: `fvc_l`, `fev1_l` (litres), `fev1_fvc`.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import audio_files, find, look, read_sheet, to_number
from align.corpora.recording import CorpusError, Listing, Recording
from align.corpora.splits import split_by_group

NAME = "mmlung"
FOLDERS = ("Trimmed Data from phone", "Trimmed_Data_from_phone")
EVENTS = {"9_3_deepbreath": "breath", "5_2_O_single": "vowel"}
FIRST_ROW, COLUMN = 22, 1
"""Of the values in a spirometry sheet, counted from 0: B23."""
VALUES = ("fvc_l", "fev1_l", "fev1_fvc")


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    folder = find(root, NAME, *FOLDERS)
    problems: list[str] = []
    spirometry = _spirometry(find(root, NAME, "spirometry_ground_truth"), problems)
    recordings = []
    for task, event in EVENTS.items():
        place = look(folder, task)
        if place is None:
            problems.append(f"{folder / task}: missing")
            continue
        for path in audio_files(place):
            person = path.stem.partition("_")[0].strip()
            if person not in spirometry:
                problems.append(f"{path}: no spirometry of {person}")
            recordings.append(
                Recording(
                    path=path,
                    corpus=NAME,
                    group=f"{NAME}:{person}",
                    split="train",
                    modality="airborne",
                    event=event,
                    metadata={"kind": task},
                    labels=spirometry.get(person, {}),
                )
            )
    return Listing(split_by_group(recordings), problems)


def _spirometry(folder: Path, problems: list[str]) -> dict[str, dict[str, str]]:
    """Measured values by person."""
    measured: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("*.xls*")):
        try:
            rows = read_sheet(path)
        except CorpusError as error:
            problems.append(str(error))
            continue
        cells = [row[COLUMN] if len(row) > COLUMN else "" for row in rows[FIRST_ROW : FIRST_ROW + len(VALUES)]]
        numbers = {name: to_number(cell) for name, cell in zip(VALUES, cells, strict=False)}
        values = {name: f"{number:g}" for name, number in numbers.items() if number is not None}
        if len(values) < len(VALUES):
            problems.append(f"{path}: no number in one of the cells B23, B24, B25")
        measured[path.stem.partition("_")[0].strip()] = values
    return measured
