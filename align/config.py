"""Settings of the programs of `align`."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg, SettingsConfigDict

from edge.settings import ProgramSettings


class PrepareSettings(ProgramSettings):
    """Decode a corpus once, for training."""

    model_config = SettingsConfigDict(env_prefix="ACULA_PREPARE__")

    corpus: CliPositionalArg[str] = Field(description="name of the corpus, as in python -m align.corpora --help")
    root: Path = Field(description="folder into which the corpus was unpacked (table: or a CSV)")
    output: Path = Field(description="folder for the Arrow files; a preparation found there is continued")
    sample_rate_hz: int = Field(16000, ge=1000, le=48000, description="rate to store, in Hz (stethoscopes: 4000)")
    workers: int = Field(os.cpu_count() or 1, ge=1, le=256, description="recordings decoded at the same time")
