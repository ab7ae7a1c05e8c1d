"""HF Lung V1: 9,765 pieces of 15 s at 4 kHz by stethoscope (reports of its licence differ: CC BY or CC BY-NC).

Layout: `train/` and `test/` with `steth_<time>.wav`, `trunc_<time>-<location>_<piece>.wav` and `<stem>_label.txt`, a
line each mark: class, start, end (`HH:MM:SS.f`). Classes: I and E (inhalation, exhalation), D (discontinuous), Wheeze,
Rhonchi, Stridor.

Split: the official folders, without validation. **People are not named.** The pieces of one `trunc` session, all
locations, are one group, and a session that is in both folders goes to training as a whole; that two sessions are of
one person cannot be seen. Labels: `wheeze`, `rhonchi`, `stridor`, `discontinuous` (1 if marked anywhere). Inhalations
and exhalations are in `times_s`, all marks in the metadata.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import audio_files, find, known, look, to_number, to_spans
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
            marks = _marks(path, problems)
            times_s, _, wrong = to_spans(path, [mark for mark in marks or [] if mark[2].casefold() in BREATHS])
            text = to_spans(path, marks or [])[1]
            problems += wrong
            held = {label.casefold() for _, _, label in marks or []}
            recordings.append(
                Recording(
                    path=path,
                    corpus=NAME,
                    group=f"{NAME}:{session}",
                    split=split,
                    modality="lung",
                    event="breath",
                    times_s=times_s,
                    metadata=known({"device": device, "marks": text}),
                    labels={}
                    if marks is None
                    else {label: str(int(name in held)) for name, label in ADVENTITIOUS.items()},
                )
            )
    mended, notes = keep_together(recordings)
    return Listing(mended, problems, notes)


def _marks(path: Path, problems: list[str]) -> list[tuple[str, str, str]] | None:
    """(start, end, class) with times in seconds as text; None, and a problem, where there is no label file."""
    label = look(path.parent, f"{path.stem}_label.txt")
    if label is None:
        problems.append(f"{path}: no label file {path.stem}_label.txt beside it")
        return None
    lines = [line.split() for line in label.read_text(encoding="utf-8", errors="replace").splitlines()]
    return [(_seconds(start), _seconds(end), name) for name, start, end in (line for line in lines if len(line) == 3)]


def _seconds(clock: str) -> str:
    seconds = 0.0
    for part in clock.split(":"):
        number = to_number(part)
        if number is None:
            return clock
        seconds = 60 * seconds + number
    return str(seconds)
