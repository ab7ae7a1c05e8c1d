"""UK COVID-19 Vocal Audio Dataset, open version (Zenodo 10043978, Open Government Licence 3).

Layout: `audio/` with opaque file names; `audio_metadata.csv`, `participant_metadata.csv`, `train_test_splits.csv`,
joined by `participant_identifier`. A participant has up to three recordings: `exhalation`, `cough`, `three_cough`, each
with `<kind>_file_name` and `<kind>_size`.

Split: the official column `splits`, where `long`, collected later, counts as test and is told apart by `official_split`
in the metadata. People without a split are left out. COVID status goes with the way of recruitment: AUROC fell from
0.846 to 0.619 once age, sex and symptoms were matched. The other columns of the split table
(`in_matched_rebalanced_test`, ...) are in the metadata for that reason; report a figure on the matched test too.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import find, known, read_rows, to_number, to_sex
from align.corpora.recording import Listing, Recording, Split

NAME = "uk-covid19"
EVENTS = {"exhalation": "breath", "cough": "cough", "three_cough": "cough"}
SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}
SPLITS |= {"long": "test", "longitudinal": "test"}
HEADER_BYTES = 44
"""A WAV file of this size or less has a header and no sound: the participant recorded nothing."""


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or a table lacks a column.
    """
    audio = find(root, NAME, "audio")
    recorded = read_rows(
        find(root, NAME, "audio_metadata.csv"),
        "participant_identifier",
        *(f"{kind}_{column}" for kind in EVENTS for column in ("file_name", "size")),
    )
    people = _by_person(read_rows(find(root, NAME, "participant_metadata.csv"), "participant_identifier"))
    splits = _by_person(read_rows(find(root, NAME, "train_test_splits.csv"), "participant_identifier", "splits"))
    recordings, silent, unsplit = [], 0, 0
    for row in recorded:
        person = row["participant_identifier"]
        place = dict(splits.get(person, {}))
        official = place.pop("splits", "").casefold()
        if official not in SPLITS:
            unsplit += 1
            continue
        about = known(people.get(person, {}) | place)
        about |= known({"sex": to_sex(about.pop("gender", ""))})
        result = about.pop("covid_test_result", "").casefold()
        labels = {"covid": result} if result in ("positive", "negative") else {}
        for kind, event in EVENTS.items():
            name, size = row[f"{kind}_file_name"], to_number(row[f"{kind}_size"])
            if not known({"": name}) or size is None or size <= HEADER_BYTES:
                silent += 1
                continue
            recordings.append(
                Recording(
                    path=audio / name,
                    corpus=NAME,
                    group=f"{NAME}:{person}",
                    split=SPLITS[official],
                    modality="airborne",
                    event=event,
                    licence="OGL-UK-3.0",
                    metadata=about | {"kind": kind, "official_split": official},
                    labels=labels,
                )
            )
    notes = [
        f"{unsplit} participants without an official split left out",
        f"{silent} recordings of {HEADER_BYTES} bytes or less, or of no known size, left out",
    ]
    return Listing(recordings, notes=notes)


def _by_person(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    people = {}
    for row in rows:
        cells = dict(row)
        people[cells.pop("participant_identifier")] = cells
    return people
