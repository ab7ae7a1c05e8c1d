"""Masked modelling of spans of time: the self-supervised loss of pre-trained encoders.

Half of a clip is hidden in spans, and what was there must be told from the encoder's output: by a linear decoder, as a
log-mel with zero mean and unit variance over the clip, so that the loss of knowing nothing is about 1 whatever the
model's own features are. Masking follows masked spectrogram modelling (Gong et al., "SSAST", arXiv 2110.09784), with
spans of time in place of patches. It knows no model: `align.encoders.listeners` does.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from align.encoders.seeds import uniform

MASKED_SHARE = 0.5
QUIETEST = 1e-2
"""Least standard deviation that a log-mel is divided by: that of silence is 0."""


def span_mask(seeds: Tensor, steps: int, span: int) -> Tensor:
    """Which steps of each clip are hidden: a function of the clip's seed alone, the same on every device.

    The time line is cut into spans from a random offset on, and half of them are hidden. At least one step is hidden
    and one is not.

    Args:
        seeds: (batch,) int64.
        steps: length of the time line, 2 or more.
        span: longest span in steps; shortened to half of the time line.

    Returns:
        (batch, steps) bool, on the CPU, true where hidden.
    """
    span = min(span, steps // 2)
    draws = uniform(seeds, 1 + (steps + span - 2) // span + 1)
    rows = []
    for draw in draws:
        span_of = (torch.arange(steps) + int(draw[0] * span)) // span
        spans = int(span_of[-1]) + 1
        rows.append(torch.isin(span_of, draw[1 : 1 + spans].argsort()[: int(spans * MASKED_SHARE)]))
    return torch.stack(rows)


def hide(features: Tensor, masked: Tensor, place: Tensor) -> Tensor:
    """Put the mean of what can still be heard of a clip in the place of what is hidden.

    Args:
        features: (batch, time) samples or (batch, time, bins).
        masked: (batch, steps) bool.
        place: (time,) the step that each moment belongs to; `steps` where it belongs to none.
    """
    belongs = F.pad(masked, (0, 1))[:, place]
    audible = ~belongs & (place < masked.shape[1])
    if features.dim() == 3:
        belongs, audible = belongs.unsqueeze(2), audible.unsqueeze(2)
    mean = (features * audible).sum(1, keepdim=True) / audible.sum(1, keepdim=True)
    return torch.where(belongs, mean, features)


def moments(log_mel: Tensor, steps: int, detail: int) -> Tensor:
    """What is to be told of each step: its log-mel as `detail` means over time, standardised over the clip.

    Args:
        log_mel: (batch, frames, bins) that lasts as long as the steps do.
        steps: how many steps the clip has.
        detail: means a step.

    Returns:
        (batch, steps, detail * bins).
    """
    pooled = F.adaptive_avg_pool1d(log_mel.transpose(1, 2), steps * detail).transpose(1, 2)
    centred = pooled - pooled.mean(dim=(1, 2), keepdim=True)
    scale = centred.square().mean(dim=(1, 2), keepdim=True).sqrt().clamp_min(QUIETEST)
    return (centred / scale).reshape(len(log_mel), steps, -1)


def span_error(told: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """Mean squared error over the hidden steps of each clip, then over clips, so that every clip counts the same.

    Args:
        told: (batch, steps, size).
        target: (batch, steps, size).
        masked: (batch, steps) bool.
    """
    error = (told.float() - target).square().mean(dim=2)
    return ((error * masked).sum(dim=1) / masked.sum(dim=1)).mean()
