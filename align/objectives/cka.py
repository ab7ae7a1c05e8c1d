"""Linear centred kernel alignment, biased and debiased, and the loss made of it.

It compares the two geometries of a batch: are recordings near one another whose reports are? It says nothing of where
a single vector lies, so that it alone gives no retrieval (`align.objectives.pointwise`, `align.objectives.contrastive`
do).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from align.objectives.errors import ObjectiveError
from align.objectives.pairs import at_least_float32, full_precision, gather_pairs, need_pairs

LEAST_SIMILARITY = 1e-5
"""Root mean square of a centred Gram matrix, of vectors of mean square norm 1, below which it is rounding alone."""
ROUNDING = 8
"""Spread of constant features after centring, in units of the last place of their size."""


def linear_cka(x: Tensor, y: Tensor, debiased: bool) -> Tensor:
    """Linear centred kernel alignment of paired features, a scalar.

        CKA = <A, B> / (|A| |B|)      A, B: Gram matrices K = x x', L = y y' (n x n), centred

    Biased: A = H K H with H = I - 11'/n, from 0 to 1; arXiv 1905.00414. Where n is much smaller than the number of
    dimensions it is near 1 for features that have nothing to do with each other.

    Debiased: each product is the unbiased HSIC_1 of Song et al. (JMLR 13, 2012), as in arXiv 2010.15327, from -1 to 1:

        HSIC_1(K, L) = [tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2/(n-2) 1'KL1] / (n (n-3))      diagonals of K, L set to 0

    It is computed as <A, B> / (n (n-3)) with A the U-centred K (Székely and Rizzo, Ann. Statist. 42, 2014), which is
    the same number. So HSIC_1(K, K) is a sum of squares and cannot be negative, as it can by the first formula in
    float32. Over random pairings of the same rows its mean is exactly 0. At n = 4 the U-centred matrices have but two
    dimensions, and the value is mostly chance.

    Features that do not vary over the batch, or whose centred Gram matrix is rounding alone, have an alignment of 0 and
    no gradient. Sums are in float32 (float64 for such input) whatever autocast says.

    Args:
        x: (n, d_x), n at least 4 if debiased, else 2.
        y: (n, d_y), in the same order.
        debiased: which of the two.

    Raises:
        ObjectiveError: too few pairs.
    """
    need_pairs(len(x), 4 if debiased else 2, "debiased CKA" if debiased else "CKA")
    with full_precision(x):
        a, b = _centred_gram(x, debiased), _centred_gram(y, debiased)
        return (a * b).sum() / (_norm(a) * _norm(b))


def _centred_gram(features: Tensor, debiased: bool) -> Tensor:
    features = _standardised(features)
    gram = features @ features.T
    if not debiased:
        return gram
    count = len(gram)
    diagonal = torch.eye(count, dtype=torch.bool, device=gram.device)
    gram = gram.masked_fill(diagonal, 0.0)
    rows = gram.sum(dim=1, keepdim=True) / (count - 2)
    mean = gram.sum() / ((count - 1) * (count - 2))
    return (gram - rows - rows.T + mean).masked_fill(diagonal, 0.0)


def _standardised(features: Tensor) -> Tensor:
    """Centred, with mean square norm 1, or zero where all rows are alike; NaN stays NaN.

    Neither changes an alignment. A large common offset, usual in embeddings of language models, would cost precision
    in the Gram matrix. The scale is no part of the gradient, since an alignment's derivative by it is 0.
    """
    features = at_least_float32(features)
    centred = features - features.mean(dim=0)
    with torch.no_grad():
        spread = centred.square().sum(dim=1).mean()
        rounding = ROUNDING * torch.finfo(features.dtype).eps
        constant = spread <= rounding**2 * features.square().sum(dim=1).mean()
        scale = torch.where(constant, 0.0, spread.rsqrt())
    return centred * scale


def _norm(gram: Tensor) -> Tensor:
    return gram.square().sum().clamp_min((LEAST_SIMILARITY * len(gram)) ** 2).sqrt()


class CKALoss(nn.Module):
    """1 - CKA of a batch of pairs (`linear_cka`), over all processes.

    For aligning the geometry of recordings with that of their reports. Two free heads can bring it to 0 by agreeing on
    one direction; use it with a fixed text side (`TextGeometry`) or with `VarianceCovariance`.

    A small batch says little of a geometry. With a queue the alignment is that of the batch together with the last
    `queue` pairs before it, which are detached: only the batch has gradient. Pairs of the past come from an encoder of
    the past, which slow learning keeps near; keep the queue well below the number of training pairs, or a recording
    meets itself. The queue is filled and used in training mode alone; it is the same in every process, and checkpoints
    keep it.

    References: arXiv 1905.00414, 2010.15327, 2512.04847 (its use here); the queue is as in arXiv 1911.05722.

    Args:
        debiased: see `linear_cka`.
        queue: pairs that are remembered.
        audio_size: d_a, needed for a queue.
        text_size: d_t, needed for a queue.

    Raises:
        ObjectiveError: a queue without the two sizes.
    """

    past_audio: Tensor
    """(queue, d_a), oldest first; the first `filled` rows count."""
    past_text: Tensor
    """(queue, d_t)"""
    filled: Tensor
    """Scalar int64."""

    def __init__(self, debiased: bool = True, queue: int = 0, audio_size: int = 0, text_size: int = 0) -> None:
        super().__init__()
        if queue and not (audio_size and text_size):
            raise ObjectiveError(f"a queue of {queue} pairs needs audio_size and text_size, to be kept in checkpoints")
        self.debiased = debiased
        self.queue = queue
        self.register_buffer("past_audio", torch.zeros(queue, audio_size))
        self.register_buffer("past_text", torch.zeros(queue, text_size))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    def forward(self, audio: Tensor, text: Tensor) -> Tensor:
        """Scalar loss of (batch, d_a) audio and (batch, d_t) text.

        Raises:
            ObjectiveError: too few pairs, or not as many of each.
        """
        audio, text = gather_pairs(audio, text)
        if self.queue and self.training:
            past = int(self.filled)
            audio = torch.cat([self.past_audio[:past], audio])
            text = torch.cat([self.past_text[:past], text])
            self._remember(audio.detach(), text.detach())
        return 1 - linear_cka(audio, text, self.debiased)

    def _remember(self, audio: Tensor, text: Tensor) -> None:
        kept = min(self.queue, len(audio))
        self.past_audio[:kept] = audio[-kept:]
        self.past_text[:kept] = text[-kept:]
        self.filled.fill_(kept)
