"""RespiratoryDatabase@TR (Mendeley p9z4h98s6j): 42 people, twelve places on the chest, severity of COPD 0 to 4.

Layout: `RespiratoryDatabase@TR/<person>_<place>.wav` (H002_L1; L1-6, R1-6) and `Labels.xlsx` with `Patient ID` and
`Diagnosis` (COPD0 to COPD4) beside or inside that folder.

Split: none is official; by person, in proportion to the severity. Nine people or so are tested: expect wide intervals.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import audio_files, find, known, named, read_sheet
from align.corpora.recording import CorpusError, Listing, Recording
from align.corpora.splits import split_by_group

NAME = "respiratory-tr"
FILE = re.compile(r"(H\d+)_([LR]\d+)", re.IGNORECASE)


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or its spreadsheet lacks a column.
    """
    folder = find(root, NAME, "RespiratoryDatabase@TR")
    severity = _severities(find(root, NAME, "Labels.xlsx", "RespiratoryDatabase@TR/Labels.xlsx"))
    recordings: list[Recording] = []
    problems: list[str] = []
    for path, name in named(audio_files(folder), FILE, problems):
        person, place = (part.upper() for part in name)
        if person not in severity:
            problems.append(f"{path}: {person} is not in Labels.xlsx")
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{person}",
                split="train",
                modality="lung",
                event="breath",
                metadata={"location": place},
                labels=known({"copd": severity.get(person, "")}),
            )
        )
    heard = {row.group.partition(":")[2] for row in recordings}
    problems += [f"{folder}: no recording of {person}, who is in Labels.xlsx" for person in severity.keys() - heard]
    return Listing(split_by_group(recordings, "copd"), sorted(problems))


def _severities(path: Path) -> dict[str, str]:
    """Severity 0 to 4 as text, by person."""
    rows = read_sheet(path)
    header = [cell.casefold() for cell in rows[0]] if rows else []
    missing = [name for name in ("Patient ID", "Diagnosis") if name.casefold() not in header]
    if missing:
        raise CorpusError(f"{path}: no column {', '.join(missing)} in its first line")
    person, diagnosis = header.index("patient id"), header.index("diagnosis")
    return {row[person].upper(): row[diagnosis].upper().removeprefix("COPD").strip() for row in rows[1:] if row[person]}
