"""SPRSound (Shanghai Jiao Tong University, CC BY 4.0): children's lung sounds by stethoscope.

Layout, of every year's folder `BioCAS2022` and later: `train*_wav`, `train*_json`, `test*_wav`, `test*_json` (2022 with
`inter_test_json` and `intra_test_json`); `<child>_<age>_<0 boy, 1 girl>_<place>_<recording>.{wav,json}`, in later years
some with `_` in front. In the JSON, `record_annotation` (in places `recording_annotation`; later years have none) and
`event_annotation`, whose milliseconds are strings. The patients' table is not read.

Split: the official one, **of which the intra-subject test is of children who are in training**: a child on both sides
goes to training with all recordings, so that what stays of 2022's test is the inter-subject part (`official_split` in
the metadata tells what was moved). Labels: `sounds` (normal, cas, das, cas & das, poor quality); the marked breaths are
in `times_s`, and with their types in the metadata's `marks`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from align.corpora.reading import audio_files, find, known, to_marks, to_spans, to_text
from align.corpora.recording import Listing, Recording, Split
from align.corpora.splits import keep_together

NAME = "sprsound"
FILE = re.compile(r"_?(\d+)_([\d.]+)_([01])_(p\d)_(\w+)", re.IGNORECASE)
SEXES = {"0": "male", "1": "female"}


def read(root: Path) -> Listing:
    """List the corpus under `root`.

    Raises:
        CorpusError: `root` is not this corpus.
    """
    find(root, NAME, "BioCAS2022/train2022_wav")
    recordings: list[Recording] = []
    problems: list[str] = []
    for year in sorted(folder for folder in root.glob("[Bb]io[Cc][Aa][Ss]20*") if folder.is_dir()):
        annotations = {path.stem: path for path in year.glob("*_json/**/*.json")}
        for folder in sorted(year.glob("*_wav")):
            split: Split = "train" if folder.name.casefold().startswith("train") else "test"
            for path in audio_files(folder, "**/*"):
                row = _recording(path, split, year.name, annotations, problems)
                recordings += [row] if row else []
    mended, notes = keep_together(recordings)
    return Listing(mended, problems, notes)


def _recording(
    path: Path, split: Split, year: str, annotations: dict[str, Path], problems: list[str]
) -> Recording | None:
    """A recording with its annotation; None, and a problem, where name or annotation are not understood."""
    name = FILE.fullmatch(path.stem)
    annotation = _read(annotations[path.stem]) if path.stem in annotations else None
    if name is None or annotation is None:
        problems.append(
            f"{path}: no readable annotation {path.stem}.json" if name else f"{path}: not a name of this corpus"
        )
        return None
    child, age, sex, place, _ = name.groups()
    events = [event for event in annotation.get("event_annotation") or [] if isinstance(event, dict)]
    written = [(str(event.get("start")), str(event.get("end")), str(event.get("type"))) for event in events]
    marks, wrong = to_marks(annotations[path.stem], written, unit_s=1e-3)
    problems += wrong
    sounds = str(annotation.get("record_annotation") or annotation.get("recording_annotation") or "")
    about = {"age": age, "sex": SEXES[sex], "location": place.casefold(), "year": year, "marks": to_text(marks)}
    return Recording(
        path=path,
        corpus=NAME,
        group=f"{NAME}:{child}",
        split=split,
        modality="lung",
        event="breath",
        times_s=to_spans(marks),
        licence="CC-BY-4.0",
        metadata=known(about),
        labels=known({"sounds": sounds.casefold()}),
    )


def _read(path: Path) -> dict[str, Any] | None:
    try:
        annotation = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
    return annotation if isinstance(annotation, dict) else None
