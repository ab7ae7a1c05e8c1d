"""The recordings of an export, split as the training split them, and what is known of each clip.

Calibration draws from the training split, operating points from validation, accuracy from test; nothing crosses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from align.channel import Samples
from align.corpora import Recording, hold_out, read_table
from align.corpora.recording import Split
from distill.data import load_clips
from distill.targets import holds
from edge.bundle import FrontEnd
from quantize.errors import ExportError


class Training(Protocol):
    """What is to be known of a training, of which a checkpoint knows more."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What the student hears."""

    @property
    def front_end(self) -> FrontEnd:
        """Its sample rate is used."""

    @property
    def seed(self) -> int:
        """Of the validation split."""

    @property
    def validation_share(self) -> float:
        """Of the people."""

    @property
    def exclude_corpora(self) -> frozenset[str]:
        """Corpora that were left out."""


@dataclass(frozen=True)
class LabelledClip:
    """A decoded recording and whether it holds each label; None where the corpus does not say."""

    recording: Recording
    samples: Samples
    duration_s: float
    holds: tuple[bool | None, ...]


def read_splits(table: Path, training: Training) -> dict[Split, list[Recording]]:
    """The airborne recordings by split, the validation split drawn as in the training.

    Corpora that the training left out are in the test split only.

    Raises:
        ExportError: a label has no recording, or nothing but recordings of it, in validation or test.
        CorpusError: the table cannot be read.
    """
    rows = [row for row in read_table(table) if row.modality == "airborne"]
    kept = [row for row in rows if row.split == "test" or row.corpus not in training.exclude_corpora]
    splits: dict[Split, list[Recording]] = {"train": [], "validation": [], "test": []}
    for row in hold_out(kept, training.validation_share, training.seed):
        splits[row.split].append(row)
    if not splits["train"]:
        raise ExportError(f"{table}: no airborne recording of the training split; INT8 is calibrated on them")
    for split in ("validation", "test"):
        for label in training.labels:
            present = sum(row.event == label for row in splits[split])
            if not 0 < present < len(splits[split]):
                raise ExportError(
                    f"{table}: {present} of {len(splits[split])} airborne {split} recordings have the event {label}; "
                    "recordings with and without it are needed"
                )
    return splits


def load_labelled(recordings: Sequence[Recording], training: Training) -> list[LabelledClip]:
    """Decode recordings and say which labels they hold."""
    rate = training.front_end.sample_rate_hz
    clips = load_clips(recordings, rate, training.labels)
    return [
        LabelledClip(
            recording,
            clip.samples,
            len(clip.samples) / rate,
            tuple(holds(recording, label) for label in training.labels),
        )
        for recording, clip in zip(recordings, clips, strict=True)
    ]
