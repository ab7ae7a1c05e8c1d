"""Settings of the programs that use a taught student. Imports no torch, so that a mistake is told at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from distill.teach_config import LABEL_NAME
from edge.settings import ProgramSettings


class EvaluateSettings(ProgramSettings):
    """Score a taught student on people it never heard."""

    model_config = SettingsConfigDict(env_prefix="ACULA_EVALUATE_STUDENT__")

    student: Path = Field(description="student.ckpt that python -m distill.teach left; evaluation.json goes beside it")
    recordings: Path = Field(description="CSV of recordings that it was taught on, with their test split")
    teacher: Path | None = Field(None, description="folder of align.train: its probes are scored beside the student")
    rounds: int = Field(2000, ge=100, description="resamples of every 95 % interval")


class LabelSettings(ProgramSettings):
    """Add a label to a finished student by two texts, without a recording and without training."""

    model_config = SettingsConfigDict(env_prefix="ACULA_LABEL__")

    student: Path = Field(description="student.ckpt that python -m distill.teach left, taught by an aligned encoder")
    name: str = Field(pattern=LABEL_NAME, description="of the label; one that is there already is replaced")
    positive: str = Field(min_length=1, description="what a report says of a recording that has it")
    negative: str = Field(min_length=1, description="what a report says of one that has it not")
    output: Path = Field(description="checkpoint to write, which quantize.export makes a bundle of")
    text_cache: Path = Field(Path("runs/teacher"), description="folder for the language teacher's embeddings")
