"""Checkpoints with the names and shapes of OPERA's published ones, and made-up values.

`opera_tensors.tsv` lists what the published classes hold. A value depends on the tensor's name and NumPy's generator
alone, so that the outputs of the original classes on these weights could be stored (`opera_golden.npz`).
"""

from __future__ import annotations

import math
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

HERE = Path(__file__).parent


@cache
def shapes(checkpoint: str) -> dict[str, tuple[int, ...]]:
    """Shape of every tensor of `operaCE`, `operaCT` or `operaGT`."""
    rows = [line.split("\t") for line in (HERE / "opera_tensors.tsv").read_text().splitlines()[1:]]
    return {
        name: () if shape == "scalar" else tuple(map(int, shape.split("x")))
        for owner, name, shape in rows
        if owner == checkpoint
    }


@cache
def tensors(checkpoint: str) -> dict[str, Tensor]:
    """Made-up weights of a whole checkpoint; not to be changed."""
    return {name: torch.from_numpy(_value(name, shape)) for name, shape in shapes(checkpoint).items()}


def features(frames: int, clips: int = 1) -> Tensor:
    """Made-up features (clips, frames, 64) in [0, 1] with structure in time and frequency."""
    rng = np.random.default_rng(frames)
    time, band = np.arange(frames)[:, None] / 40, np.arange(64)[None, :] / 9
    waves = [np.sin(time * rng.uniform(0.5, 3) + band * rng.uniform(-1, 1)) for _ in range(clips)]
    return torch.from_numpy(0.5 + 0.25 * np.stack(waves) + 0.25 * rng.uniform(-1, 1, (clips, frames, 64))).float()


def embeddings(size: int) -> tuple[Tensor, Tensor]:
    """Made-up embeddings (4, size) of first and second crops."""
    rng = np.random.default_rng(size)
    first, noise = rng.standard_normal((2, 4, size), dtype=np.float32)
    return torch.from_numpy(first), torch.from_numpy(first + noise)


def _value(name: str, shape: tuple[int, ...]) -> NDArray[np.generic]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    leaf = name.rpartition(".")[2]
    if leaf in ("num_batches_tracked", "relative_position_index"):
        return np.ones(shape, dtype=np.int64)
    if leaf in ("running_var", "tau"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    normal = rng.standard_normal(shape, dtype=np.float32)
    if len(shape) == 1:
        return 1 + 0.2 * normal if leaf == "weight" else 0.2 * normal
    if leaf in ("pos_embed", "cls_token", "decoder_pos_embed", "mask_token", "relative_position_bias_table"):
        return 0.5 * normal
    # So much that the signal outlives EfficientNet's gates, and not so much that rounding grows from layer to layer.
    return normal * np.float32(1.5 / math.sqrt(math.prod(shape[1:])))
