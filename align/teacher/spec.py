"""Which teacher reads the reports, and what of it is an embedding."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Pooling = Literal["mean", "last"]


class TeacherSpec(BaseModel):
    """A text model, and what is taken from it; kept in checkpoints beside the encoder that learnt from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(
        "google/medgemma-4b-pt",
        min_length=1,
        description="a model's id on the Hugging Face hub, its folder, or minilm for the small one that is installed",
    )
    revision: str = Field("main", min_length=1, description="branch, tag or commit on the hub; folders have none")
    layer: int = Field(-1, description="hidden state to take: 0 is what enters the first layer, -1 the last")
    pooling: Pooling = Field("mean", description="one vector a report: mean over its tokens, or its last token")
    unit: Literal["sentence", "report"] = Field(
        "sentence", description="what it reads at once: a sentence, whose mean is the report's vector, or the report"
    )
    max_tokens: int = Field(512, ge=8, description="longer reports are cut, tokens")
