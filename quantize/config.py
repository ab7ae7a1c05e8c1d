"""Settings of `python -m quantize.export` and `python -m quantize.tune`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from align.files import refuse_absent
from edge.backends.shared import LARGEST_BATCH
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
        0,
        ge=0,
        le=64,
        description="windows that a device may score at once; 1: fixed shapes, which a board's runtime optimises best; "
        "0: as many as a device of the target gives, 8 for a cpu and 1 for a jetson",
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

    @property
    def batch(self) -> int:
        """The most windows at once, at least 1."""
        return self.max_batch or (LARGEST_BATCH if self.target == "cpu" else 1)


class TuneSettings(ProgramSettings):
    """Choose a finished bundle's operating points anew."""

    model_config = SettingsConfigDict(env_prefix="ACULA_TUNE__")

    bundle: Path = Field(description="folder of the bundle")
    recordings: Path = Field(description="CSV that lists the recordings that the bundle was trained on")
    output: Path = Field(description="folder to write; a bundle found there is replaced once the new one is proven")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="version of the tuned bundle")
    validation_share: float = Field(
        gt=0, lt=0.5, description="as in the training: with another, thresholds would be chosen on people it heard"
    )
    seed: int = Field(ge=0, description="as in the training, for the same reason")
    labels: tuple[str, ...] = Field((), description="labels whose point is chosen anew (default: all)")
    masked_by: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='labels that cover another, as \'{"breath": ["cough", "speech"]}\''
    )
    scenes: int = Field(24, ge=1, description="scenes of ten minutes, of validation clips, to tune thresholds on")
    bootstrap_rounds: int = Field(1000, ge=100, description="resamples of every 95 % interval")


def refuse_missing(settings: ExportSettings | TuneSettings) -> None:
    """Stop if what the settings name is not there, before anything slow begins.

    Raises:
        ConfigError: that is so.
    """
    if isinstance(settings, ExportSettings):
        refuse_absent(settings.checkpoint, "give a checkpoint of distill.train, such as runs/room/last.ckpt")
    else:
        refuse_absent(settings.bundle, "give the folder of a bundle")
    refuse_absent(settings.recordings, "give the CSV that lists the recordings")
