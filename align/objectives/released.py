"""The loss as it was released with arXiv 2512.04847, for comparison alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from align.objectives.pairs import at_least_float32, full_precision, gather_pairs, need_pairs, same_size

SMALLEST = 1e-12
"""Keeps the quotient finite where a side does not vary."""


class ReleasedLoss(nn.Module):
    """1 - cosine of the two covariance matrices: a control, not a way to align.

        X, Y centred over the batch:   loss = 1 - <X'X, Y'Y>_F / (|X'X|_F |Y'Y|_F)

    It is called CKA where it was released, but compares dimension with dimension (d x d) and not pair with pair (n x
    n). The pairing drops out of X'X and Y'Y: give every recording another one's report and the loss is the same. It
    makes the two heads' outputs equally spread and teaches nothing of any report. A run with it shows what a
    comparison owes to the reports at all. Reference: the code of arXiv 2512.04847; compare `CKALoss`.
    """

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Scalar loss of (batch, d) audio and (batch, d) text.

        Raises:
            ObjectiveError: shapes that do not belong together, or fewer than two pairs.
        """
        same_size(audio, text)
        audio, text = gather_pairs(audio, text)
        need_pairs(len(audio), 2, "a covariance")
        with full_precision(audio):
            a, b = _scatter(audio), _scatter(text)
            return 1 - (a * b).sum() / (_norm(a) * _norm(b))


def _scatter(features: Tensor) -> Tensor:
    features = at_least_float32(features)
    centred = features - torch.mean(features, dim=0)
    return centred.T @ centred


def _norm(scatter: Tensor) -> Tensor:
    return scatter.square().sum().clamp_min(SMALLEST).sqrt()
