"""HF Lung V1: 9,765 pieces of 15 s at 4 kHz by stethoscope (reports of its licence differ: CC BY or CC BY-NC).

Layout: `train/` and `test/` with `steth_<time>.wav`, `trunc_<time>-<location>_<piece>.wav` and `<stem>_label.txt`, a
line each mark: class, start, end (`HH:MM:SS.f`). Classes: I and E (inhalation, exhalation), D (discontinuous), Wheeze,
Rhonchi, Stridor.

Split: the official folders, without validation. **People are not named.** The pieces of one `trunc` session, all
locations, are one group, and a session that is in both folders goes to training as a whole; that two sessions are of
one person cannot be seen. Labels: `wheeze`, `rhonchi`, `stridor`, `discontinuous` (1 if marked anywhere; not known
where it is not and a line is not understood). Inhalations and exhalations are in `times_s`, all marks in the metadata.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import Mark, audio_files, find, known, look, to_marks, to_number, to_spans, to_text
from align.corpora.recording import Listing, Recording, Split
from align.corpora.splits import keep_together

NAME = "hf-lung"
PIECE = re.compile(r"(-[^-_]+)?_\d+$")
ADVENTITIOUS = {"wheeze": "wheeze", "rhonchi": "rhonchi", "stridor": "stridor", "d": "discontinuous"}
BREATHS = ("i", "e")
PARTS: tuple[Split, ...] = ("train", "test")


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    recordings, problems = [], []
    for split in PARTS:
        for path in audio_files(find(root, NAME, split)):
            device = path.stem.casefold().partition("_")[0]
            if device not in ("steth", "trunc"):
                problems.append(f"{path}: not a name of this corpus")
                continue
            session = PIECE.sub("", path.stem) if device == "trunc" else path.stem
            marks, wrong = _marks(path)
            problems += wrong
            held = {label.casefold() for _, _, label in marks}
            recordings.append(
                Recording(
                    path=path,
                    corpus=NAME,
                    group=f"{NAME}:{session}",
                    split=split,
                    modality="lung",
                    event="breath",
                    times_s=to_spans(mark for mark in marks if mark[2].casefold() in BREATHS),
                    metadata=known({"device": device, "marks": to_text(marks)}),
                    labels={
                        label: str(int(name in held))
                        for name, label in ADVENTITIOUS.items()
                        if name in held or not wrong
                    },
                )
            )
    mended, notes = keep_together(recordings)
    return Listing(mended, problems, notes)


def _marks(recording: Path) -> tuple[list[Mark], list[str]]:
    """The marks of a recording, and problems: no label file, or lines of it that are not understood."""
    path = look(recording.parent, f"{recording.stem}_label.txt")
    if path is None:
        return [], [f"{recording}: no label file {recording.stem}_label.txt beside it"]
    written, wrong = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        cells = line.split()
        if len(cells) == 3:
            written.append((_seconds(cells[1]), _seconds(cells[2]), cells[0]))
        elif cells:
            wrong.append(f"{path}, line {number}: '{' '.join(cells)}' is not a class, a start and an end")
    marks, inverted = to_marks(path, written)
    return marks, wrong + inverted


def _seconds(clock: str) -> str:
    seconds = 0.0
    for part in clock.split(":"):
        number = to_number(part)
        if number is None:
            return clock
        seconds = 60 * seconds + number
    return str(seconds)
