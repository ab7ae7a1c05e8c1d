"""CoughVID (Zenodo 4048312, CC BY 4.0).

Layout: `public_dataset/<uuid>.{webm,ogg}` with a `.json` each, and `metadata_compiled.csv` beside or inside that
folder. A row of which `cough_detected` is below 0.8 may be anything: its event is unknown, and all rows are kept.

Split: none is official; by uuid, in proportion to `status`. **The corpus names no people**: somebody who recorded twice
may be on both sides. Labels: `status` (healthy, symptomatic, covid-19; self-reported) and `sex`.
"""

from __future__ import annotations

from pathlib import Path

from align.corpora.reading import AUDIO_SUFFIXES, find, known, read_rows, to_number, to_sex
from align.corpora.recording import Listing, Recording
from align.corpora.splits import split_by_group

NAME = "coughvid"
SURE_COUGH = 0.8
"""Of the corpus's own cough detector; its authors and users take what is above as coughs."""


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus, or its table lacks a column.
    """
    table = find(root, NAME, "metadata_compiled.csv", "public_dataset/metadata_compiled.csv")
    folder = find(root, NAME, "public_dataset") if table.parent == root else table.parent
    files = {path.stem: path for path in folder.iterdir() if path.suffix.casefold() in AUDIO_SUFFIXES}
    recordings = []
    for row in read_rows(table, "uuid", "cough_detected", "gender", "status"):
        about = known(row)
        uuid = about.pop("uuid", "")
        status, sex = about.pop("status", "").casefold(), to_sex(about.pop("gender", ""))
        recordings.append(
            Recording(
                path=files.get(uuid, folder / f"{uuid}.webm"),
                corpus=NAME,
                group=f"{NAME}:{uuid}",
                split="train",
                modality="airborne",
                event="cough" if (to_number(row["cough_detected"]) or 0.0) >= SURE_COUGH else "",
                licence="CC-BY-4.0",
                metadata=about,
                labels=known({"status": status, "sex": sex}),
            )
        )
    return Listing(split_by_group(recordings, "status"))
