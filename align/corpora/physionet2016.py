"""PhysioNet / Computing in Cardiology 2016: heart sounds of six databases at 2 kHz.

Layout: `training-a` to `training-f`, each with `<record>.wav`, `.hea` and `REFERENCE.csv` (record, -1 normal or 1
abnormal; no header), and the quality 0 or 1 in `REFERENCE-SQI.csv` or in
`annotations/updated/<database>/REFERENCE_withSQI.csv` where they are. `validation/` holds copies of training records
and is not read.

Split: none is public, and **no people are named**. Database by database, which also asks whether a detector has learnt
a clinic: b and c train, d and f test; a and e 80 to 20 by record, where somebody with several records may be on both
sides. Label: `outcome`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from align.corpora.reading import find, look, read_cells
from align.corpora.recording import Listing, Recording, Split
from align.corpora.splits import split_by_group

NAME = "physionet2016"
WHOLE: dict[str, Split] = {"b": "train", "c": "train", "d": "test", "f": "test"}
DIVIDED: Mapping[Split, int] = {"train": 80, "test": 20}
OUTCOMES = {"-1": "normal", "1": "abnormal"}


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    find(root, NAME, "training-a/REFERENCE.csv")
    recordings: list[Recording] = []
    problems: list[str] = []
    for letter in "abcdef":
        folder = look(root, f"training-{letter}")
        if folder is None:
            problems.append(f"{root / f'training-{letter}'}: missing")
            continue
        rows = _database(root, folder, problems)
        if letter in WHOLE:
            recordings += [replace(row, split=WHOLE[letter]) for row in rows]
        else:
            recordings += split_by_group(rows, "outcome", DIVIDED)
    return Listing(recordings, problems)


def _database(root: Path, folder: Path, problems: list[str]) -> list[Recording]:
    quality = {}
    for name in (f"{folder.name}/REFERENCE-SQI.csv", f"annotations/updated/{folder.name}/REFERENCE_withSQI.csv"):
        table = look(root, name)
        if table is not None:
            quality = {cells[0]: cells[2] for cells in read_cells(table) if len(cells) > 2}
            break
    recordings = []
    reference = find(root, NAME, f"{folder.name}/REFERENCE.csv")
    for cells in read_cells(reference):
        record, outcome = cells[0], OUTCOMES.get(cells[1] if len(cells) > 1 else "")
        if outcome is None:
            problems.append(f"{reference}: '{','.join(cells)}' is not a record and -1 or 1")
            continue
        recordings.append(
            Recording(
                path=folder / f"{record}.wav",
                corpus=NAME,
                group=f"{NAME}:{record}",
                split="train",
                modality="heart",
                event="heart",
                metadata={"database": folder.name[-1].casefold()}
                | ({"quality": quality[record]} if record in quality else {}),
                labels={"outcome": outcome},
            )
        )
    return recordings
