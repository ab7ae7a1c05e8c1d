"""Masked modelling: which patches of a clip are hidden, and what it costs to guess them wrong.

After He et al., Masked Autoencoders Are Scalable Vision Learners (arXiv 2111.06377), without normalisation of the
targets. The networks that look and guess are the encoders' own.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from align.encoders.seeds import uniform


class Mask(NamedTuple):
    """The patches of a batch that are seen and those that are not."""

    kept: Tensor
    """(batch, seen) int64: numbers of the patches that are seen, as many of each clip."""
    hidden: Tensor
    """(batch, patches) bool."""


def draw_mask(seeds: Tensor, patches: int, ratio: float, device: torch.device) -> Mask:
    """Hide patches at random, those of a clip by its seed alone.

    Args:
        seeds: (batch,) int64.
        patches: patches of a clip.
        ratio: share of them that is hidden; at least one must be left to see and one to guess.
        device: where the mask is wanted.
    """
    kept = uniform(seeds, patches).argsort(dim=1)[:, : int(patches * (1 - ratio))]
    hidden = torch.ones(len(seeds), patches, dtype=torch.bool).scatter_(1, kept, value=False)
    return Mask(kept.to(device), hidden.to(device))


def keep_seen(tokens: Tensor, mask: Mask) -> Tensor:
    """The tokens that are seen, (batch, patches, size) to (batch, seen, size)."""
    return tokens.gather(1, _index(mask, tokens))


def put_back(seen: Tensor, filler: Tensor, mask: Mask) -> Tensor:
    """Tokens in their places again, with `filler` for the hidden ones.

    Args:
        seen: (batch, seen, size), in the order of `keep_seen`.
        filler: (1, 1, size).

    Returns:
        (batch, patches, size).
    """
    everywhere = filler.to(seen.dtype).expand(*mask.hidden.shape, -1)
    return everywhere.scatter(1, _index(mask, seen), seen)


def cut_patches(features: Tensor, rows: int, bands: int) -> Tensor:
    """Patches as vectors, in order of time and then of frequency.

    Args:
        features: (batch, time, bands of the features), both multiples of the patch's sides.
        rows: length of a patch in time, frames.
        bands: height of a patch, mel bands.

    Returns:
        (batch, patches, rows * bands).
    """
    batch, time, height = features.shape
    grid = features.reshape(batch, time // rows, rows, height // bands, bands)
    return grid.transpose(2, 3).reshape(batch, -1, rows * bands)


def masked_mse(guess: Tensor, truth: Tensor, mask: Mask) -> Tensor:
    """Mean squared error over the hidden patches, a scalar in float32.

    Args:
        guess: (batch, patches, numbers a patch).
        truth: the same.
    """
    error = (guess.float() - truth.float()).square().mean(dim=2)
    return error.masked_fill(~mask.hidden, 0.0).sum() / mask.hidden.sum()


def _index(mask: Mask, tokens: Tensor) -> Tensor:
    return mask.kept.unsqueeze(2).expand(-1, -1, tokens.shape[2])
