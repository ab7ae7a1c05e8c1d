"""Which recordings an export calibrates with, tunes on and measures with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from align.corpora import hold_out, read_table
from edge.bundle import FrontEnd
from edge.errors import UserError
from quantize.recordings import load_labelled, read_splits
from tests.sounds import write_sound


@dataclass(frozen=True)
class Trained:
    """What a checkpoint knows of its training."""

    labels: tuple[str, ...] = ("cough",)
    front_end: FrontEnd = field(default_factory=lambda: FrontEnd(sample_rate_hz=8000))
    seed: int = 3
    validation_share: float = 0.3
    exclude_corpora: frozenset[str] = frozenset()


def table(folder: Path, *extra: str, people: int = 20) -> Path:
    """A cough and a dog of each person of a training split, and of four people of a test split."""
    rows = [
        f"{event}-{person}.wav,{corpus},person-{person},{split},airborne,{event}"
        for person in range(people + 4)
        for split, corpus in [("train", "own" if person % 2 else "other") if person < people else ("test", "other")]
        for event in ("cough", "dog")
    ]
    for row in (*rows, *extra):
        (folder / row.partition(",")[0]).touch()
    (folder / "recordings.csv").write_text("\n".join(["path,corpus,group,split,modality,event", *rows, *extra]) + "\n")
    return folder / "recordings.csv"


def test_validation_people_are_those_of_the_training(tmp_path: Path) -> None:
    path = table(tmp_path)
    splits = read_splits(path, Trained())
    held = {row.group for row in hold_out(read_table(path), 0.3, seed=3) if row.split == "validation"}
    assert {row.group for row in splits["validation"]} == held
    people = {name: {row.group for row in rows} for name, rows in splits.items()}
    assert not people["train"] & people["validation"]
    assert people["test"] == {f"person-{number}" for number in range(20, 24)}


def test_corpora_that_the_training_left_out_are_tested_and_nothing_else(tmp_path: Path) -> None:
    splits = read_splits(table(tmp_path), Trained(exclude_corpora=frozenset({"other"})))
    assert {row.corpus for row in splits["train"] + splits["validation"]} == {"own"}
    assert {row.corpus for row in splits["test"]} == {"other"}


def test_contact_recordings_take_no_part(tmp_path: Path) -> None:
    splits = read_splits(table(tmp_path, "heart.wav,own,child,train,heart,cough"), Trained())
    assert "child" not in {row.group for rows in splits.values() for row in rows}


def test_label_without_recordings_of_it_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"0 of \d+ airborne validation recordings have the event sneeze"):
        read_splits(table(tmp_path), Trained(labels=("cough", "sneeze")))


def test_label_that_every_recording_holds_is_told(tmp_path: Path) -> None:
    path = table(tmp_path)
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.endswith("dog")) + "\n")
    with pytest.raises(UserError, match="recordings with and without it are needed"):
        read_splits(path, Trained())


def test_nobody_to_calibrate_on_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no airborne recording of the training split"):
        read_splits(table(tmp_path, people=0), Trained())


def test_recordings_are_decoded_at_the_bundles_rate_with_what_they_hold(tmp_path: Path) -> None:
    path = table(tmp_path)
    row = next(row for row in read_splits(path, Trained())["test"] if row.event == "cough")
    write_sound(row.path, 1.5)
    (clip,) = load_labelled([row], Trained(labels=("cough", "dog")))
    assert (len(clip.samples), clip.duration_s, clip.holds) == (12_000, 1.5, (True, False))
    assert clip.samples.dtype == np.float32
