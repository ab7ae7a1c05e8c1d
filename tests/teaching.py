"""Settings of a teaching of seconds, for the tests of what is taught and of what is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.teach_config import TeachSettings
from tests.aligning import MURMUR, Aligned

FRONT_END = {
    "sample_rate_hz": 4000,
    "frame_samples": 200,
    "hop_samples": 80,
    "mel_bands": 32,
    "low_hz": 25.0,
    "high_hz": 1000.0,
}
TEXT_LABEL = {
    "name": "loud",
    "positive": "A loud murmur is heard.",
    "negative": "No murmur is heard.",
    "like": "murmur",
}


def given(hearts: Aligned, output: Path, **changes: Any) -> dict[str, Any]:
    """All that is not a default."""
    tiny: dict[str, Any] = {
        "recordings": hearts.recordings,
        "output": output,
        "teacher": {"aligned": hearts.folder, "text_cache": hearts.teacher_cache},
        "tasks": [MURMUR],
        "front_end": FRONT_END,
        "views": {"count": 2, "cache": output.parent / "views"},
        "window_s": 2.0,
        "hop_s": 1.0,
        "width": 16,
        "form": "depthwise",
        "context_blocks": 1,
        "embedding_size": 32,
        "epochs": 2,
        "batch_size": 16,
        "validation_share": 0.25,
    }
    return {**tiny, **changes}


def settings(hearts: Aligned, output: Path, **changes: Any) -> TeachSettings:
    """The same, checked."""
    return TeachSettings.model_validate(given(hearts, output, **changes))
