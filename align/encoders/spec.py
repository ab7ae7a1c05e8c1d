"""Which encoder to build. Imports no torch, so that programs read their settings at once."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class EncoderSpec(BaseModel):
    """Which encoder to build; kept in checkpoints, so that an encoder can be built again without its training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="family, as in align.encoders.FAMILIES")
    checkpoint: str = Field("", description="published weights: a file, or for transformers a folder or a model's id")
    sample_rate_hz: int = Field(16000, ge=1000, le=48000, description="rate of the audio, Hz (scratch encoders only)")
    clip_s: float = Field(8.18, gt=0, le=60, description="length of audio heard at once, seconds")
