"""Settings of `python -m distill.train`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from align.files import refuse_absent
from edge.errors import ConfigError
from edge.settings import ProgramSettings


class TrainSettings(ProgramSettings):
    """Train a student on labelled recordings."""

    model_config = SettingsConfigDict(env_prefix="ACULA_TRAIN__")

    recordings: Path = Field(description="CSV that lists the recordings: path, group, split, event, ...")
    output: Path = Field(description="folder for checkpoints, metrics and plots; a run found there is resumed")
    labels: tuple[str, ...] = Field(("cough", "breath", "speech"), description="events to detect; all others are none")
    exclude_corpora: tuple[str, ...] = Field((), description="corpora to leave out of training and validation")
    marks_from: Path | None = Field(
        None, description="checkpoint of an earlier training that marks the events of recordings without times"
    )
    seed: int = Field(0, ge=0, description="seed of the net, the scenes and the validation split")
    validation_share: float = Field(0.12, gt=0, lt=0.5, description="share of the training groups held out")
    width: int = Field(32, ge=16, multiple_of=16, description="channels of the first residual stage")
    depth: int = Field(1, ge=1, le=6, description="residual blocks of each of the first two stages")
    context_blocks: int = Field(4, ge=1, le=6, description="temporal residual blocks, dilated 1, 2, 4, ...")
    window_s: float = Field(2.0, ge=1, le=4, multiple_of=1, description="window, in whole seconds")
    scenes: int = Field(
        24576, ge=1, description="scenes of 8 s to compose; 0.1 MB of disk each until the training ends"
    )
    epochs: int = Field(20, ge=1, description="epochs; an epoch is a fixed number of windows")
    quantise_epochs: int = Field(
        0, ge=0, description="last epochs that hear themselves in INT8, for a net that loses much in it; 0: none"
    )
    windows_per_epoch: int = Field(
        25600, ge=64, multiple_of=64, description="windows drawn from the scenes in an epoch"
    )
    learning_rate: float = Field(2e-3, gt=0, lt=1, description="highest learning rate of the one-cycle schedule")
    workers: int = Field(2, ge=0, description="processes that compose the scenes; one of them then cuts windows")


def refuse_missing(settings: TrainSettings) -> None:
    """Stop if what the settings name is not there, before anything slow begins.

    Raises:
        ConfigError: that is so, or settings do not go together.
    """
    refuse_absent(settings.recordings, "give the CSV that lists the recordings")
    if len(set(settings.labels)) < len(settings.labels):
        raise ConfigError(f"labels = {list(settings.labels)}: name each once")
    if settings.quantise_epochs >= settings.epochs:
        raise ConfigError(f"quantise_epochs = {settings.quantise_epochs} must be less than epochs = {settings.epochs}")
    if settings.marks_from is not None:
        refuse_absent(settings.marks_from, "give the last.ckpt of an earlier training")
