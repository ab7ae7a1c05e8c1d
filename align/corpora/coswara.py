"""Coswara (Indian Institute of Science, CC BY 4.0): breaths, coughs, vowels and counting by phone.

Layout, after the repository's own extraction script: `Extracted_data/<date>/<person>/{breathing-deep,
breathing-shallow, cough-heavy, cough-shallow, vowel-a, vowel-e, vowel-o, counting-fast, counting-normal}.wav`;
`combined_data.csv` with `id`, `a` (age), `covid_status`, `g`, `smoker` (y, n, True, False or nothing);
`annotations/<kind>_labels*.csv` with the quality of a recording, 0 (bad) to 2, where somebody judged it.

Split: none is official; by person, in proportion to `covid_status`. Bad recordings are listed too: `quality` is in the
metadata.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import audio_files, find, known, look, read_cells, read_rows, to_sex
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "coswara"
EVENTS = {"breathing": "breath", "cough": "cough", "counting": "speech", "vowel": "vowel"}
YES_NO = {"y": "yes", "true": "yes", "n": "no", "false": "no"}


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or its table lacks a column.
    """
    folder = find(root, NAME, "Extracted_data")
    people = {
        row["id"]: row
        for row in read_rows(find(root, NAME, "combined_data.csv"), "id", "a", "covid_status", "g", "smoker")
    }
    quality = _qualities(root)
    recordings, problems, heard = [], [], set()
    for path in audio_files(folder, "*/*/*"):
        person, kind = path.parent.name, path.stem.casefold()
        heard.add(person)
        if person not in people or kind.partition("-")[0] not in EVENTS:
            why = "not a kind of this corpus" if person in people else f"{person} is not in combined_data.csv"
            problems.append(f"{path}: {why}")
            continue
        row = people[person]
        age, judged = row["a"], quality.get(f"{person}_{kind}", "")
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{person}",
                split="train",
                modality="airborne",
                event=EVENTS[kind.partition("-")[0]],
                licence="CC-BY-4.0",
                metadata=known({"kind": kind, "age": age, "quality": judged, "date": path.parent.parent.name}),
                labels=known(
                    {
                        "covid_status": row["covid_status"].casefold(),
                        "sex": to_sex(row["g"]),
                        "smoker": YES_NO.get(row["smoker"].casefold(), ""),
                    }
                ),
            )
        )
    problems += [f"{folder}: no folder of {person}, who is in combined_data.csv" for person in people.keys() - heard]
    return Listing(split_by_group(recordings, "covid_status"), sorted(problems))


def _qualities(root: Path) -> dict[str, str]:
    """Judged quality by `<person>_<kind>`."""
    folder = look(root, "annotations")
    tables = sorted(folder.glob("*_labels*.csv")) if folder else []
    lines = [cells for table in tables for cells in read_cells(table) if len(cells) > 1]
    return {name.removesuffix(".wav"): judged for name, judged, *_ in lines if judged in ("0", "1", "2")}
