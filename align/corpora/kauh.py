"""KAUH (King Abdullah University Hospital; Mendeley jwyy9np4gv, version 3): 112 people, lung sounds by stethoscope.

Layout: `Audio Files/<filter>P<person>_<diagnosis>,<sound>,<location>,<age>,<sex>.wav` with stray spaces and with one
diagnosis in several spellings. The filters B, D and E (bell, diaphragm, extended) are three versions of one recording:
BP58, DP58 and EP58 are one person.

Split: none is official, and **the split file that circulates leaks**: 51 of its 78 people are in several parts. Here:
by person, all three filters together, in proportion to the diagnosis. Labels: `diagnosis`, and `sound` as written.
"""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora.reading import audio_files, find, known, named, to_sex
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "kauh"
FILE = re.compile(r"([BDE])P(\d+)_(.+),([^,]*),([^,]*),([^,]*),([^,]*)", re.IGNORECASE)
SPELLINGS = {"n": "normal", "bron": "bronchitis", "plueral effusion": "pleural effusion"}


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    recordings: list[Recording] = []
    problems: list[str] = []
    for path, name in named(audio_files(find(root, NAME, "Audio Files")), FILE, problems):
        filtered, person, diagnosis, sound, location, age, sex = (" ".join(part.split()) for part in name)
        about = {"filter": filtered.upper(), "location": location.upper(), "age": age}
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{int(person)}",
                split="train",
                modality="lung",
                event="breath",
                metadata=known(about | {"sex": to_sex(sex)}),
                labels=known({"diagnosis": _diagnosis(diagnosis), "sound": sound.upper()}),
            )
        )
    return Listing(split_by_group(recordings, "diagnosis"), problems)


def _diagnosis(text: str) -> str:
    """One spelling for one diagnosis; several of them joined by ` + `, in the order of the alphabet."""
    parts = (part.strip() for part in re.split(r"\+|&| and ", text.casefold()))
    return " + ".join(sorted(SPELLINGS.get(part, part) for part in parts if part))
