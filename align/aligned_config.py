"""Settings of the programs that use what `align.train` left."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from align.tasks import Task
from edge.errors import ConfigError
from edge.settings import ProgramSettings


class RetrieveSettings(ProgramSettings):
    """Find the reports that are nearest to a recording, or tell how often recordings find their own."""

    model_config = SettingsConfigDict(env_prefix="ACULA_RETRIEVE__")

    aligned: Path = Field(description="folder that python -m align.train wrote")
    reports: Path = Field(description="Parquet file that python -m align.report wrote")
    query: Path | None = Field(None, description="recording to find reports for")
    recordings: Path | None = Field(
        None,
        description="CSV of recordings, or a folder that python -m align.prepare wrote: its test split is asked; with "
        "--query it only tells which report is the recording's own",
    )
    top: int = Field(5, ge=1, le=1000, description="reports to show")
    sheet: Path | None = Field(None, description="PNG file to write: spectrogram, own report, the three nearest")
    teacher_cache: Path = Field(Path("runs/teacher"), description="folder for the teacher's embeddings")


class EvaluateSettings(ProgramSettings):
    """Score a trained encoder on the test split by linear probes."""

    model_config = SettingsConfigDict(env_prefix="ACULA_EVALUATE__")

    aligned: Path = Field(description="folder that python -m align.train wrote; evaluation.json is left in it")
    recordings: Path = Field(description="CSV of recordings, or a folder that python -m align.prepare wrote")
    tasks: tuple[Task, ...] = Field((), description="questions to ask (default: those of the training)")


def refuse_unclear(settings: RetrieveSettings) -> None:
    """Stop if nothing is asked, or a sheet of more than one recording.

    Raises:
        ConfigError: that is so.
    """
    if settings.query is None and settings.recordings is None:
        raise ConfigError("nothing to ask; give --query with a recording, or --recordings for a whole test split")
    if settings.query is None and settings.sheet is not None:
        raise ConfigError("--sheet shows one recording; give it with --query")
