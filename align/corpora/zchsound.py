"""ZCHSound: children's hearts with and without congenital disease (its site is reported dead).

Layout: a folder of clean recordings (`clean Heartsound Data`, ZCH0001 to ZCH0941) and one of noisy ones (`Noise
Heartsound Data` or `Noise Heartsound Data Details`, ZCH0942 to ZCH1259), and two tables with semicolons, `Clean
Heartsound Data Details.csv` and `Noise Heartsound Data Details.csv`: `fileName;gender;age(days);diagnosis`. The first
table is needed, the noisy part only if its table is there.

Split: none is official; one file a child, in proportion to the diagnosis. Label: `diagnosis` (normal, asd, pda, pfo,
vsd); a PFO is a borderline finding, and leaving it out is the task's choice.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import find, known, look, read_rows, to_sex
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "zchsound"
COLUMNS = ("fileName", "gender", "age(days)", "diagnosis")


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or a table lacks a column.
    """
    clean = find(root, NAME, "Clean Heartsound Data Details.csv")
    recordings = _part(clean, find(root, NAME, "clean Heartsound Data"), "clean")
    noisy = look(root, "Noise Heartsound Data Details.csv")
    if noisy is not None:
        folder = find(root, NAME, "Noise Heartsound Data Details", "Noise Heartsound Data")
        recordings += _part(noisy, folder, "noisy")
    return Listing(split_by_group(recordings, "diagnosis"))


def _part(table: Path, folder: Path, quality: str) -> list[Recording]:
    recordings = []
    for row in read_rows(table, *COLUMNS):
        name = row["filename"].removesuffix(".wav")
        about = {"quality": quality, "age_days": row["age(days)"], "sex": to_sex(row["gender"])}
        recordings.append(
            Recording(
                path=look(folder, f"{name}.wav") or folder / f"{name}.wav",
                corpus=NAME,
                group=f"{NAME}:{name}",
                split="train",
                modality="heart",
                event="heart",
                metadata=known(about),
                labels=known({"diagnosis": row["diagnosis"].casefold()}),
            )
        )
    return recordings
