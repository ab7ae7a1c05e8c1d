"""ICBHI 2017 respiratory sounds: stethoscopes on the chest, 4 to 44.1 kHz, 126 people.

Layout: `ICBHI_final_database/<person>_<recording>_<site>_<mode>_<device>.{wav,txt}`, the text with one breathing cycle
a line (start, end, crackles, wheezes; tabs); `ICBHI_challenge_train_test.txt` (recording, split) and the diagnoses,
`ICBHI_Challenge_diagnosis.txt` or `patient_diagnosis.csv`, beside or inside that folder.

Split: the official one, **which leaks**: people 156 and 218 are in both of its parts, so whoever is in both goes to
training with all recordings (`official_split` in the metadata tells where they were). There is no validation part. The
test part has few healthy people, and sample rate and device go with the diagnosis: look at the device before believing
a figure. Labels: `diagnosis` of the person, `crackles` and `wheezes` (1 if any cycle has them; not known where none has
and a line is not understood). Cycles are in `times_s`, and with what each holds in the metadata's `marks`.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import Mark, audio_files, find, known, read_cells, to_marks, to_spans, to_text
from align.corpora.recording import CorpusError, Listing, Recording, Split
from align.corpora.splits import keep_together

NAME = "icbhi"
FILE = re.compile(r"(\d+)_(\w+?)_(tc|al|ar|pl|pr|ll|lr)_(sc|mc)_(\w+)", re.IGNORECASE)
HELD = {("0", "0"): "none", ("1", "0"): "crackle", ("0", "1"): "wheeze", ("1", "1"): "both"}
SOUNDS = {"crackles": {"crackle", "both"}, "wheezes": {"wheeze", "both"}}


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    folder = find(root, NAME, "ICBHI_final_database")
    splits = _official(_beside(root, "ICBHI_challenge_train_test.txt"))
    diagnosis = {
        cells[0]: cells[1]
        for cells in read_cells(_beside(root, "ICBHI_Challenge_diagnosis.txt", "patient_diagnosis.csv"))
        if len(cells) > 1
    }
    written = {name.casefold(): name for name in splits}
    recordings, problems = [], []
    for path in audio_files(folder):
        name = FILE.fullmatch(path.stem)
        if name is None or path.stem.casefold() not in written:
            problems.append(f"{path}: {'not in the official split' if name else 'not a name of this corpus'}")
            continue
        person, _, site, mode, device = name.groups()
        marks, wrong = _cycles(path.with_suffix(".txt"))
        problems += wrong
        labels = {"diagnosis": diagnosis[person].casefold()} if person in diagnosis else {}
        held = {label for _, _, label in marks}
        for label, kinds in SOUNDS.items():
            if held & kinds:
                labels[label] = "1"
            elif marks and not wrong:
                labels[label] = "0"
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{person}",
                split=splits[written[path.stem.casefold()]],
                modality="lung",
                event="breath",
                times_s=to_spans(marks),
                metadata=known(
                    {"site": site.title(), "mode": mode.casefold(), "device": device, "marks": to_text(marks)}
                ),
                labels=labels,
            )
        )
    there = {path.stem.casefold() for path in audio_files(folder)}
    absent = [name for key, name in written.items() if key not in there]
    problems += [f"{folder}: no recording {name}, which the official split lists" for name in absent]
    mended, notes = keep_together(recordings)
    return Listing(mended, problems, notes)


def _beside(root: Path, *names: str) -> Path:
    return find(root, NAME, *names, *(f"ICBHI_final_database/{name}" for name in names))


def _cycles(path: Path) -> tuple[list[Mark], list[str]]:
    """The breathing cycles of a recording, and a problem for each line that is none."""
    if not path.is_file():
        return [], [f"{path}: missing; the breathing cycles are in it"]
    written, wrong = [], []
    for cells in read_cells(path):
        held = HELD.get((cells[2], cells[3])) if len(cells) >= 4 else None
        if held is None:
            wrong.append(f"{path}: the line '{' '.join(cells)}' is not a start, an end, and twice 0 or 1")
        else:
            written.append((cells[0], cells[1], held))
    marks, inverted = to_marks(path, written)
    return marks, wrong + inverted


def _official(path: Path) -> dict[str, Split]:
    """Split of each recording, by its name without suffix."""
    splits: dict[str, Split] = {}
    for cells in read_cells(path):
        split = cells[1].casefold() if len(cells) > 1 else ""
        if split not in ("train", "test"):
            raise CorpusError(f"{path}: the line '{' '.join(cells)}' is not a recording, a tab, and train or test")
        splits[cells[0]] = "train" if split == "train" else "test"
    return splits
