"""The bundle's manifest: front-end numbers, windows, labels with their operating points, provenance, hashes.

Says what a manifest may hold and checks that its numbers fit together. Reads no files: see `edge.bundle`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

SCHEMA_VERSION = 1

# A file lies directly in the folder: no separators, no leading dot, so a manifest cannot point outside.
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
# RFC 3339 in UTC, as everywhere on the wire.
Timestamp = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FrontEnd(_Model):
    """The log-mel front-end's numbers; frames are left-aligned, `frame_samples` long, one every `hop_samples`."""

    sample_rate_hz: int = Field(default=16000, gt=0)
    frame_samples: int = Field(default=400, gt=0)
    hop_samples: int = Field(default=160, gt=0)
    mel_bands: int = Field(default=64, gt=0)
    low_hz: float = Field(default=50.0, ge=0)
    high_hz: float = Field(default=8000.0, gt=0)
    log_offset: float = Field(default=1e-6, gt=0)


class OperatingPoint(_Model):
    """How one label's scores become events; see `edge.events`. Scores 0..1, times in seconds."""

    on: float = Field(gt=0, le=1)
    off: float = Field(gt=0, le=1)
    minimum_duration_s: float = Field(ge=0)
    merge_gap_s: float = Field(ge=0)
    refractory_s: float = Field(ge=0)
    split_depth: float = Field(ge=0, le=1)

    @model_validator(mode="after")
    def _off_below_on(self) -> OperatingPoint:
        if self.off > self.on:
            raise ValueError(f"off ({self.off}) is above on ({self.on})")
        return self


class Label(_Model):
    """One column of the scores; the name is part of topics and payloads."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]*$")]
    operating_point: OperatingPoint
    masked_by: tuple[str, ...] = ()
    """Labels whose sounds cover this one: its score counts for as much as theirs leave, s * (1 - t) for each t."""


class Corpus(_Model):
    """Recordings that the model was trained on, their licence and where they come from."""

    name: str
    licence: str
    source: str
    recordings: int = Field(ge=0)


class Metric(_Model):
    """A measured figure with its interval (None where there is none)."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    unit: str = ""
    detail: str = ""


class Manifest(_Model):
    """`manifest.json`. `files` maps every other file but `signature` to its SHA-256."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    version: str = Field(min_length=1)
    created: Timestamp
    modality: Literal["airborne", "contact"] = "airborne"
    """airborne: a microphone in a room; contact: one on the body. Says how breathing is read; see `edge.breathing`."""
    front_end: FrontEnd = FrontEnd()
    window_s: float = Field(default=2.0, gt=0)
    hop_s: float = Field(default=0.5, gt=0)
    step_s: float = Field(default=0.04, gt=0)
    embedding_size: int = Field(gt=0)
    labels: tuple[Label, ...] = Field(min_length=1)
    precision: Literal["float32", "int8"]
    corpora: tuple[Corpus, ...] = ()
    metrics: tuple[Metric, ...] = ()
    golden_tolerance: float = Field(gt=0)
    tensorrt_tolerance: dict[Literal["int8", "fp16"], Annotated[float, Field(gt=0)]] = Field(default_factory=dict)
    """Of the golden outputs of each precision's graphs for TensorRT; empty: the bundle holds none."""
    files: dict[FileName, Sha256] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        names = [label.name for label in self.labels]
        if len(set(names)) != len(names):
            raise ValueError(f"a label appears twice in {names}")
        for label in self.labels:
            if not set(label.masked_by) <= set(names) - {label.name}:
                raise ValueError(f"{label.name} is masked by {label.masked_by}, which are not all other labels")
        rate, frame = self.front_end.sample_rate_hz, self.front_end.hop_samples
        for field in ("window_s", "hop_s", "step_s"):
            samples = getattr(self, field) * rate
            if not math.isclose(samples, round(samples), abs_tol=1e-6) or round(samples) % frame:
                raise ValueError(f"{field} of {getattr(self, field)} is no multiple of a frame of {frame / rate} s")
        if not self.step_s <= self.hop_s <= self.window_s or self.window_samples < self.front_end.frame_samples:
            raise ValueError("step_s, hop_s and window_s must rise in that order, and a window hold a whole frame")
        return self

    @property
    def window_samples(self) -> int:
        """Samples of a window at the bundle's rate."""
        return round(self.window_s * self.front_end.sample_rate_hz)

    @property
    def hop_samples(self) -> int:
        """Samples between the starts of two windows (not the front-end's hop)."""
        return round(self.hop_s * self.front_end.sample_rate_hz)

    @property
    def step_samples(self) -> int:
        """Samples that one step of the scores stands for."""
        return round(self.step_s * self.front_end.sample_rate_hz)

    @property
    def frames(self) -> int:
        """Log-mel frames of a window: those that fit whole."""
        return 1 + (self.window_samples - self.front_end.frame_samples) // self.front_end.hop_samples

    @property
    def steps(self) -> int:
        """Score steps of a window; the last one may stand on fewer frames."""
        return -(-self.frames // (self.step_samples // self.front_end.hop_samples))
