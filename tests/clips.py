"""Synthesised clips with targets, for tests of scenes and of what is cut from them."""

from __future__ import annotations

import numpy as np

from distill.data import SceneMaker
from distill.scenes import Clip
from distill.targets import PRESENT

RATE, HOP = 16000, 160


def clip(event: str, frames: int, column: int | None = None, corpus: str = "home", marked: bool = False) -> Clip:
    """Noise of `frames` hops, whose second quarter holds the label of a column."""
    rng = np.random.default_rng(frames)
    targets = np.zeros((frames, 3), dtype=np.int8)
    if column is not None:
        targets[frames // 4 : frames // 2, column] = PRESENT
    return Clip((0.1 * rng.standard_normal(frames * HOP)).astype(np.float32), targets, event, corpus, marked=marked)


def scene_maker() -> SceneMaker:
    """A maker that knows one to two clips of every kind."""
    clips = [
        clip("cough", 120, 0, marked=True),
        clip("cough", 1200, 0, marked=True),
        clip("breath", 300, 1),
        clip("speech", 90, 2),
        clip("sneezing", 100),
        clip("non_cough", 900),
        clip("rain", 500),
        clip("dog", 80),
    ]
    return SceneMaker(clips, RATE, 3)
