"""Settings of `python -m quantize.export`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from edge.settings import ProgramSettings


class ExportSettings(ProgramSettings):
    """Turn a trained student into a bundle."""

    model_config = SettingsConfigDict(env_prefix="ACULA_EXPORT__", serialize_by_alias=True)

    checkpoint: Path = Field(
        description="checkpoint of distill.train, such as runs/room/last.ckpt, or student of distill.teach"
    )
    labels: tuple[str, ...] = Field((), description="labels of a taught student to ship (default: all taught ones)")
    recordings: Path = Field(description="CSV that lists the recordings that the student was trained on")
    target: Literal["cpu", "jetson"] = Field("cpu", description="machine that the bundle is for")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the bundle")
    output: Path = Field(description="folder to write; a bundle found there is replaced once the new one is proven")
    version: str = Field("0.1.0", pattern=r"^\d+\.\d+\.\d+$", description="version of the bundle")
    precision: Literal["auto", "float32", "int8"] = Field(
        "auto", description="numbers of the encoder; auto: INT8 where it is 1.1 times as fast and as accurate"
    )
    calibration_windows: int = Field(320, ge=300, description="training windows that set the INT8 ranges")
    max_batch: int = Field(
        1, ge=1, le=64, description="windows that a device may score at once; 1: fixed shapes, the fastest for one"
    )
    scenes: int = Field(24, ge=1, description="scenes of ten minutes, of validation clips, to tune thresholds on")
    bootstrap_rounds: int = Field(1000, ge=100, description="resamples of every 95 % interval")
    allow_drop: bool = Field(False, description="ship although the AUROC gate fails; the card says so")
    key: Path | None = Field(None, description="PEM file with an Ed25519 private key that signs the bundle; none: no")
    report: Path | None = Field(None, description="JSON file for all figures, with the machine's speed; none: no file")
    as_json: bool = Field(
        False, alias="json", description="print all figures as one JSON object; the steps go to standard error"
    )
    dry_run: bool = Field(False, description="read and check the inputs, say what would be done, and write nothing")
