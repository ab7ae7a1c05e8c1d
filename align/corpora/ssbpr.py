"""SSBPR (on request): snores by microphone in five positions of the sleeper and, rarely, a sixth.

Layout: `{female,male}/<person>/A-B-C.wav`; the last number is the position. What the first two mean is not known to us;
they are in the metadata as `take`.

Split: none is official. **Published figures split by recording, so that a sleeper is on both sides**; here: by person,
in proportion to the sex. Label: `position`; prone (5) is too rare to train on, and leaving it out is the task's choice.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import audio_files, find
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "ssbpr"
POSITIONS = ("supine", "supine, head left", "supine, head right", "left", "right", "prone")


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    recordings, problems = [], []
    for sex in ("female", "male"):
        for path in audio_files(find(root, NAME, sex), "*/*"):
            take, _, position = path.stem.rpartition("-")
            if not (position.isdecimal() and int(position) < len(POSITIONS) and take):
                problems.append(f"{path}: the name does not end in a position, -0 to -{len(POSITIONS) - 1}")
                continue
            recordings.append(
                Recording(
                    path=path,
                    corpus=NAME,
                    group=f"{NAME}:{sex}/{path.parent.name}",
                    split="train",
                    modality="airborne",
                    event="snoring",
                    metadata={"take": take},
                    labels={"position": POSITIONS[int(position)], "sex": sex},
                )
            )
    return Listing(split_by_group(recordings, "sex"), problems)
