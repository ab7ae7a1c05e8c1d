"""Open what `distill.train` left: the student, ready to score, and what it was trained on.

Lightning's weight averaging stores the averaged weights, those that validation saw, under `state_dict` and the raw ones
under `current_model_state`; so `state_dict` is what ships. It needs no Lightning.
"""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from distill.student import Student, StudentShape
from edge.bundle import Corpus, FrontEnd
from edge.errors import first_line
from quantize.corpora import source_of
from quantize.errors import CheckpointError

PREFIX = "student."


@dataclass(frozen=True)
class Checkpoint:
    """A trained student and its provenance."""

    path: Path
    sha256: str
    created: str
    """RFC 3339: SOURCE_DATE_EPOCH where it is set, else when the file was written, so that exports repeat."""
    student: Student
    front_end: FrontEnd
    labels: tuple[str, ...]
    window_s: float
    seed: int
    """Of the validation split."""
    validation_share: float
    exclude_corpora: frozenset[str]
    corpora: tuple[Corpus, ...]

    @property
    def window_samples(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.front_end.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Log-mel frames of a window."""
        return 1 + (self.window_samples - self.front_end.frame_samples) // self.front_end.hop_samples


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint and build its student in evaluation mode.

    Raises:
        CheckpointError: the file is missing, not a checkpoint, or not one of `distill.train`.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a checkpoint of distill.train, such as runs/room/last.ckpt")
    raw = path.read_bytes()
    try:
        stored = torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and key errors for damaged files
        # Torch's own words recommend to load what it distrusts.
        raise CheckpointError(f"{path}: not a checkpoint, or a damaged one ({type(error).__name__})") from error
    try:
        given: dict[str, Any] = stored["hyper_parameters"]
        student = Student(StudentShape(**given["shape"]))
        weights = stored["state_dict"].items()
        student.load_state_dict({name[len(PREFIX) :]: value for name, value in weights if name.startswith(PREFIX)})
        data = given["data"]
        return Checkpoint(
            path=path,
            sha256=hashlib.sha256(raw).hexdigest(),
            created=created(path),
            student=student.eval(),
            front_end=FrontEnd(**given["front_end"]),
            labels=tuple(given["labels"]),
            window_s=float(given["window_s"]),
            seed=int(data["seed"]),
            validation_share=float(data["validation_share"]),
            exclude_corpora=frozenset(data["exclude_corpora"]),
            corpora=tuple(corpus_of(corpus) for corpus in data["corpora"]),
        )
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        raise CheckpointError(f"{path}: not a checkpoint of distill.train ({first_line(error)})") from error


def corpus_of(given: dict[str, Any]) -> Corpus:
    """A corpus as the checkpoint names it, with its source."""
    licence = "; ".join(given["licences"]) or "not stated"
    return Corpus(name=given["name"], licence=licence, source=source_of(given["name"]), recordings=given["recordings"])


def created(path: Path) -> str:
    """`Checkpoint.created` of the file at `path`."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        seconds = int(epoch) if epoch else int(path.stat().st_mtime)
        moment = datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise CheckpointError(f"SOURCE_DATE_EPOCH is '{epoch}': give whole seconds since 1970") from error
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
