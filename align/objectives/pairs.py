"""What the objectives share: the gathered pairs, their precision, their cosines."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from align.distributed import gather
from align.objectives.errors import ObjectiveError

LEAST_NORM = 1e-6
"""Norm below which a vector has no direction; a smaller one would let a zero vector's gradient grow without measure."""


def gather_pairs(audio: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """The pairs of all processes.

    Args:
        audio: (batch, d_a) of this process.
        text: (batch, d_t) of the same recordings in the same order.

    Raises:
        ObjectiveError: the two are not as many vectors each.
    """
    if audio.ndim != 2 or text.ndim != 2 or len(audio) != len(text):
        shapes = f"{tuple(audio.shape)} and {tuple(text.shape)}"
        raise ObjectiveError(f"audio and text are {shapes}; give one vector each for every pair")
    return gather(audio), gather(text)


def need_pairs(given: int, least: int, what: str) -> None:
    """Refuse a batch that is too small.

    Raises:
        ObjectiveError: `given` is less than `least`.
    """
    if given < least:
        raise ObjectiveError(
            f"{what} needs {least} pairs, the batch has {given}; use larger batches and drop an incomplete last one"
        )


def full_precision(features: Tensor) -> torch.autocast:
    """A context without autocast: sums over a batch lose their small differences in 16 bits."""
    return torch.autocast(features.device.type, enabled=False)


def at_least_float32(features: Tensor) -> Tensor:
    """The features in float32, or in float64 if they are."""
    return features if features.dtype == torch.float64 else features.float()


def unit(features: Tensor) -> Tensor:
    """The features with norm 1, in `at_least_float32`; a zero vector stays zero."""
    return F.normalize(at_least_float32(features), dim=-1, eps=LEAST_NORM)


def same_size(audio: Tensor, text: Tensor) -> None:
    """Refuse vectors of two spaces.

    Raises:
        ObjectiveError: the last dimensions differ.
    """
    if audio.shape[-1] != text.shape[-1]:
        raise ObjectiveError(
            f"audio has {audio.shape[-1]} dimensions, text {text.shape[-1]}; the audio head must end in the text's size"
        )
