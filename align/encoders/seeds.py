"""Random numbers of a clip as a function of its seed alone.

They are drawn on the CPU by NumPy, whose streams are the same on every machine; torch's CPU generator would look at the
lower half of a seed only, and its CUDA generator gives other numbers.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def uniform(seeds: Tensor, count: int) -> Tensor:
    """Numbers in [0, 1) of each clip, (batch, count) float64 on the CPU.

    Args:
        seeds: (batch,) int64, negative ones included.
        count: numbers a clip.
    """
    rows = [np.random.default_rng(seed % 2**64).random(count) for seed in seeds.tolist()]
    return torch.from_numpy(np.stack(rows))
