"""Settings of `python -m align.report`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from edge.settings import ProgramSettings


class ReportSettings(ProgramSettings):
    """Write a clinical report of every recording, from its metadata."""

    model_config = SettingsConfigDict(env_prefix="ACULA_REPORT__")

    recordings: Path = Field(
        description="CSV that lists the recordings (path, group, split, and columns of metadata), or a folder that "
        "python -m align.prepare wrote"
    )
    output: Path = Field(description="Parquet file for the reports; a run found there is resumed")
    corpora: tuple[str, ...] = Field((), description="corpora to write reports of (default: all)")
    hide: tuple[str, ...] = Field((), description="labels that no report may state, nor what implies them")
    writer: Literal["template", "server", "local"] = Field(
        "template", description="template (no model), server (OpenAI-compatible), local (a model of transformers)"
    )
    model: str = Field("", description="the server's name of the model, or a folder or hub name of a local one")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the phrasings and of sampling")
    temperature: float = Field(0.7, ge=0, le=2, description="sampling temperature of a model; 0 is greedy")
    max_tokens: int = Field(200, ge=16, le=4096, description="longest answer of a model, in tokens")
    attempts: int = Field(3, ge=1, le=10, description="tries of a model at a report before the template takes over")
    base_url: str = Field("http://127.0.0.1:8000/v1", description="address of the server's API")
    api_key_env: str = Field("OPENAI_API_KEY", description="environment variable that holds the server's key, if any")
    api_key_file: Path | None = Field(None, description="file that holds the server's key; wins over the variable")
    concurrency: int = Field(16, ge=1, le=1024, description="requests under way at the same time")
    requests_per_minute: float = Field(0, ge=0, description="most requests a minute; 0 is no limit")
    timeout_s: float = Field(60, gt=0, le=3600, description="longest wait for an answer, in seconds")
    retries: int = Field(4, ge=0, le=20, description="repeats of a request that met no server, a limit or a time-out")
    batch: int = Field(8, ge=1, le=1024, description="reports that a local model writes at the same time")

    @property
    def lasting(self) -> dict[str, object]:
        """What may not change between the stop and the resumption of a run, by the names of the flags."""
        names = ["writer", "seed"]
        if self.writer != "template":
            names += ["model", "temperature", "max_tokens"]
        return {"hide": sorted(self.hide)} | {name: getattr(self, name) for name in names}
