"""Contrast of recordings with reports, in which equal reports are one report.

Many recordings have word for word the same report. Another recording's equal report is no negative, so that both losses
are told which texts are the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from align.distributed import gather
from align.objectives.errors import ObjectiveError
from align.objectives.pairs import full_precision, gather_pairs, same_size, unit

CLIP_SCALE, CLIP_MOST_SCALE = 1 / 0.07, 100.0
"""Where CLIP starts the inverse temperature, and what it may grow to."""
SIGLIP_SCALE, SIGLIP_BIAS = 10.0, -10.0
"""Where SigLIP starts: at first nearly all is a negative, as it is among so many pairs."""


def _compared(audio: Tensor, text: Tensor, text_ids: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine of every recording with every report, and whether that is its report, both (n, n) over all processes."""
    same_size(audio, text)
    if text_ids.shape != text.shape[:1]:
        raise ObjectiveError(f"text_ids are {tuple(text_ids.shape)} for {len(text)} texts; give one id for each")
    audio, text = gather_pairs(audio, text)
    ids = gather(text_ids)
    return unit(audio) @ unit(text).T, ids[:, None] == ids[None, :]


class InfoNCE(nn.Module):
    """Softmax contrast in both directions, as CLIP does it, with a temperature that is trained.

        z = s cos(a_i, t_j),   P_ij = [id_i = id_j] / #{k: id_k = id_i}
        loss = (CE(z, P) + CE(z', P)) / 2,   CE(z, P) = -mean_i sum_j P_ij log softmax_j(z_i)

    The target is spread evenly over equal reports, so that the loss cannot fall below the mean of log #{k: id_k =
    id_i}. Where equal ids have equal vectors that is the plain loss; it differs where a text side with dropout, say,
    makes them unequal. For an audio head's output against the text side in its dimensions. Reference: arXiv 2103.00020.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(CLIP_SCALE)))

    def forward(self, audio: Tensor, text: Tensor, text_ids: Tensor) -> Tensor:
        """Scalar loss of (batch, d) audio, (batch, d) text, and (batch,) int64 ids of the texts.

        An id means the same text in every process.

        Raises:
            ObjectiveError: shapes that do not belong together.
        """
        with full_precision(audio):
            cosines, same = _compared(audio, text, text_ids)
            # The weight itself is held back, as in CLIP: a bound in the graph would have no gradient to return by.
            with torch.no_grad():
                self.log_scale.clamp_(max=math.log(CLIP_MOST_SCALE))
            logits = self.log_scale.exp() * cosines
            target = same.to(logits.dtype)
            target = target / target.sum(dim=1, keepdim=True)
            return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


class SigLIP(nn.Module):
    """Contrast by one yes or no for every recording and report, with a scale and a bias that are trained.

        loss = -(1/n) sum_ij log sigmoid(y_ij (s cos(a_i, t_j) + b)),   y_ij = 1 if id_i = id_j, else -1

    Here an equal report that is taken for a negative does push its recording away. For an audio head's output against
    the text side in its dimensions. Reference: arXiv 2303.15343.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(SIGLIP_SCALE)))
        self.bias = nn.Parameter(torch.tensor(SIGLIP_BIAS))

    def forward(self, audio: Tensor, text: Tensor, text_ids: Tensor) -> Tensor:
        """Scalar loss of (batch, d) audio, (batch, d) text, and (batch,) int64 ids of the texts.

        An id means the same text in every process.

        Raises:
            ObjectiveError: shapes that do not belong together.
        """
        with full_precision(audio):
            cosines, same = _compared(audio, text, text_ids)
            logits = self.log_scale.exp() * cosines + self.bias
            return -F.logsigmoid(torch.where(same, logits, -logits)).sum() / len(logits)
