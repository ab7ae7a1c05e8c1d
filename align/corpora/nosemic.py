"""NoseMic: 16 people, a microphone at the nose, the rate of breathing known.

Layout: `audio/<person>_<x>_<y>_<rate>.wav`; the last field is breaths a minute, which may have a decimal point. What x
and y mean is not known to us; they are in the metadata as `take`.

Split: none is official; by person. Published figures leave out one person at a time: do that over `group` where they
are to be compared. Label: `respiration_bpm`.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import audio_files, find, to_number
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "nosemic"


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    recordings, problems = [], []
    for path in audio_files(find(root, NAME, "audio")):
        person, *take = path.stem.split("_")
        number = to_number(take.pop()) if len(take) == 3 else None
        if number is None:
            problems.append(f"{path}: not <person>_<x>_<y>_<rate>")
            continue
        recordings.append(
            Recording(
                path=path,
                corpus=NAME,
                group=f"{NAME}:{person}",
                split="train",
                modality="airborne",
                event="breath",
                metadata={"take": "_".join(take)},
                labels={"respiration_bpm": f"{number:g}"},
            )
        )
    return Listing(split_by_group(recordings), problems)
