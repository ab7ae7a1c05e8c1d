"""Recordings made up on the spot, with or without samples, for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.clips import Clips
from align.corpora import Recording
from align.corpora.recording import Split


def recording(name: str, group: str, split: Split = "train", event: str = "heart", **metadata: str) -> Recording:
    return Recording(Path(name), "tiny", group, split, "heart", event, metadata=metadata)


def clips_of(samples: Sequence[NDArray[np.int16]]) -> Clips:
    """One person each."""
    rows = [recording(f"{number}.wav", f"person-{number}") for number in range(len(samples))]
    return Clips(rows, [row.path.as_posix() for row in rows], samples, [])


def noise(length: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-20000, 20000, length).astype(np.int16)
