"""Settings of the programs of `align`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from align.encoders import EncoderSpec, refuse_unknown
from align.files import refuse_absent
from align.presets import fill_in
from align.tasks import Task
from align.teacher.spec import TeacherSpec
from edge.errors import ConfigError
from edge.settings import ProgramSettings


class PrepareSettings(ProgramSettings):
    """Decode a corpus once, for training."""

    model_config = SettingsConfigDict(env_prefix="ACULA_PREPARE__")

    corpus: CliPositionalArg[str] = Field(description="name of the corpus, as in python -m align.corpora --help")
    root: Path = Field(description="folder into which the corpus was unpacked (table: or a CSV)")
    output: Path = Field(description="folder for the Arrow files; a preparation found there is continued")
    sample_rate_hz: int = Field(16000, ge=1000, le=48000, description="rate to store, in Hz (stethoscopes: 4000)")
    workers: int = Field(os.cpu_count() or 1, ge=1, le=256, description="recordings decoded at the same time")


class ObjectiveSettings(BaseModel):
    """What audio is aligned to text by. The defaults are what proved best on training people of CirCor.

    But for `preservation`: that encoder, which begins without weights, was best without it; one that comes with
    acoustics of its own may need it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["cka", "infonce", "siglip", "released", "labels", "none"] = Field(
        "cka",
        description="cka; infonce or siglip (contrast); released (the published code's loss, a control); labels "
        "(supervised, a control); none (self-supervised only)",
    )
    debiased: bool = Field(True, description="cka: the unbiased estimate")
    queue: int = Field(0, ge=0, description="cka: pairs of past batches that enlarge the batch")
    text: Literal["centred", "whitened", "head"] = Field(
        "centred", description="the text side: fixed (centred or whitened), or a head that is trained along"
    )
    text_size: int = Field(0, ge=0, description="whitened: dimensions to keep; head: width; 0: of the embeddings")
    audio_head: Literal["linear", "mlp"] = Field("linear", description="from the embedding to the text's space")
    weight: float = Field(1.0, ge=0, description="weight of the alignment")
    pointwise: float = Field(1.0, ge=0, description="weight of the cosine to the own report, which retrieval needs")
    variance_covariance: float = Field(0.0, ge=0, description="weight of the guard against collapse of trained heads")
    preservation: float = Field(0.05, ge=0, description="weight of the encoder's own self-supervised loss")
    shuffled: Literal["", "once", "anew"] = Field(
        "", description="controls: permute the reports among the recordings once, or within every batch anew"
    )

    def misfit(self, tasks: int) -> str:
        """What does not go together, with so many tasks; nothing where all does."""
        if self.text == "head" and self.pointwise and self.name in ("cka", "released"):
            return "objective.pointwise regresses onto a fixed text side; set it to 0 with objective.text = head"
        if self.name == "none" and not self.preservation:
            return "objective.name = none and objective.preservation = 0 leave nothing to learn"
        if self.name == "labels" and not tasks:
            return "objective.name = labels answers the questions of --tasks; there are none"
        return ""


class AlignSettings(ProgramSettings):
    """Align an audio encoder to the reports of its recordings."""

    model_config = SettingsConfigDict(env_prefix="ACULA_ALIGN__")

    preset: Literal["", "acula", "demo"] = Field(
        "", description="settings to begin with: acula (as released) or demo (synthesised corpus)"
    )
    recordings: Path = Field(description="CSV of recordings, or a folder that python -m align.prepare wrote")
    reports: Path = Field(description="Parquet file that python -m align.report wrote")
    output: Path = Field(description="folder for checkpoints, metrics and plots; a run found there is resumed")
    corpora: tuple[str, ...] = Field((), description="corpora to use (default: all)")
    encoder: EncoderSpec = EncoderSpec.model_validate({"name": "scratch-conv"})
    teacher: TeacherSpec = TeacherSpec.model_validate({})
    teacher_cache: Path = Field(Path("runs/teacher"), description="folder for the teacher's embeddings")
    objective: ObjectiveSettings = ObjectiveSettings.model_validate({})
    tasks: tuple[Task, ...] = Field((), description="questions that a probe asks while training goes on and at its end")
    seed: int = Field(0, ge=0, description="seed of weights, order, crops and validation split")
    validation_share: float = Field(0.1, gt=0, lt=0.5, description="share of the training people held out")
    epochs: int = Field(60, ge=1, description="times that every training recording is heard")
    batch_size: int = Field(96, ge=4, description="pairs in a batch of one process")
    accumulate: int = Field(1, ge=1, description="batches whose gradients are summed before a step")
    learning_rate: float = Field(2e-3, gt=0, lt=1, description="highest learning rate of AdamW")
    weight_decay: float = Field(0.05, ge=0, lt=1, description="of AdamW")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="how the learning rate falls after its rise")
    warmup_steps: int = Field(40, ge=0, description="steps over which the learning rate rises")
    averaged: bool = Field(True, description="keep a moving average of the weights, and use that")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field("auto", description="of the arithmetic")
    devices: int = Field(1, ge=1, description="processes on this machine, as torchrun --nproc_per_node")
    nodes: int = Field(1, ge=1, description="machines, as torchrun --nnodes")
    workers: int = Field(0, ge=0, description="processes that cut clips; 0: the training process does")
    validate_epochs: int = Field(1, ge=1, description="epochs between two looks at probe and retrieval")
    checkpoint_steps: int = Field(200, ge=1, description="steps between checkpoints within an epoch")

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: dict[str, Any]) -> dict[str, Any]:
        return fill_in(given)


def is_demonstration(settings: AlignSettings) -> bool:
    """Whether the training synthesises its own corpus and reports, which are not there before."""
    corpus = settings.output / "corpus"
    return (settings.recordings, settings.reports) == (corpus / "recordings.csv", corpus / "reports.parquet")


def refuse_misfits(settings: AlignSettings) -> None:
    """Stop if settings do not go together, before anything slow begins.

    Raises:
        EncoderError: there is no such encoder.
        ConfigError: the objective cannot be.
    """
    refuse_unknown(settings.encoder.name)
    if problem := settings.objective.misfit(len(settings.tasks)):
        raise ConfigError(problem)


def refuse_missing(settings: AlignSettings) -> None:
    """Stop if what the settings name is not there, before anything slow begins.

    Raises:
        ConfigError: that is so.
    """
    if settings.preset == "demo" and is_demonstration(settings):
        return
    refuse_absent(settings.recordings, "give the CSV that lists the recordings")
    refuse_absent(settings.reports, "write it with python -m align.report")
