"""BMD-HS (BUET): hearts with valve disease, 20 s at 4 kHz, several diseases at once.

Layout: `train/<diagnosis>_<person>_<sit or sup>_<Mit, Aor, Tri or Pul>.wav` (one file is called
`MD_085_sit_Tri6_06.wav` and is the tricuspid one) and `train.csv`: the person in the first column and `AS`, `AR`, `MR`,
`MS`, `N` as 0 or 1. Unverified: that the number in the first column is the number in the file names.

Split: none is official (three published ones do not come with the data); by person, in proportion to the diagnosis in
the file names (`diagnosis`; `md` is several). Labels: `as`, `ar`, `mr`, `ms`, `n`, each 0 or 1.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import audio_files, find, named, read_rows
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "bmd-hs"
FILE = re.compile(r"([A-Z]+)_(\d+)_(sit|sup)_(Mit|Aor|Tri|Pul)\w*", re.IGNORECASE)
VALVES = {"mit": "MV", "aor": "AV", "tri": "TV", "pul": "PV"}
DISEASES = ("as", "ar", "mr", "ms", "n")


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or its table lacks a column.
    """
    folder, table = find(root, NAME, "train"), find(root, NAME, "train.csv")
    diseases: dict[int, dict[str, str]] = {}
    for row in read_rows(table, *DISEASES):
        number = re.search(r"\d+", next(iter(row.values())))
        if number:
            diseases[int(number[0])] = {name: row[name] for name in DISEASES if row[name] in ("0", "1")}
    recordings: list[Recording] = []
    problems: list[str] = []
    for path, name in named(audio_files(folder), FILE, problems):
        diagnosis, person, posture, valve = (part.casefold() for part in name)
        if int(person) not in diseases:
            problems.append(f"{path}: person {int(person)} is not in {table.name}")
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{int(person)}",
                split="train",
                modality="heart",
                event="heart",
                metadata={"posture": posture, "site": VALVES[valve]},
                labels={"diagnosis": diagnosis} | diseases.get(int(person), {}),
            )
        )
    heard = {int(row.group.partition(":")[2]) for row in recordings}
    problems += [f"{folder}: no recording of person {person}" for person in sorted(diseases.keys() - heard)]
    return Listing(split_by_group(recordings, "diagnosis"), problems)
