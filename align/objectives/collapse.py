"""What keeps an alignment from being reached by saying nothing.

Two heads that are both free can agree on one direction and ignore what recordings and reports are: the alignment is
perfect then. Either the text side is fixed (`TextGeometry`), or every dimension is made to say something of its own
(`VarianceCovariance`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from align.distributed import gather
from align.objectives.errors import ObjectiveError
from align.objectives.pairs import at_least_float32, full_precision, need_pairs, unit

LEAST_VARIANCE = 1e-10
"""Variance along a direction, of the largest one and the mean's square, below which it is rounding of float32."""
ROWS_AT_ONCE = 4096
"""Embeddings that are held in float64 at a time."""
STABLE = 1e-4
"""Added to a variance, as in VICReg, so that the gradient of its root is bounded."""


class TextGeometry(nn.Module):
    """The fixed text side: embeddings of reports, centred or whitened, with nothing to train.

        centred:   t -> (t - m) / |t - m|
        whitened:  t -> (t - m) V diag(v)^(-1/2)

    m is the mean of the training reports' embeddings, V (text_size, size) the directions of their largest variances
    v. Embeddings of a language model share one large component, and a few directions hold most of what is left.
    Centring removes the first, whitening evens out the second: every direction that is kept has variance 1. The
    directions beyond the first few tens are ever finer shades of wording, which whitening makes as loud as the rest;
    hence `size`. As nothing is trained, audio can agree with it only by learning what tells the reports apart.

    It is fitted once, on training reports alone, and kept in checkpoints.

    Args:
        kind: "centred" or "whitened".
        text_size: dimensions of the embeddings.
        size: dimensions that whitening keeps; text_size, if not given, which is also what "centred" gives.

    Raises:
        ObjectiveError: a size that cannot be.
    """

    mean: Tensor
    """(text_size,)"""
    projection: Tensor
    """(text_size, size), of no rows if centred."""
    fitted: Tensor
    """Scalar bool."""

    def __init__(self, kind: Literal["centred", "whitened"], text_size: int, size: int | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.size = text_size if size is None else size
        if kind == "centred" and self.size != text_size:
            raise ObjectiveError(f"centred text keeps its {text_size} dimensions, not {size}; whiten to have fewer")
        if not 1 <= self.size <= text_size:
            raise ObjectiveError(f"text of {text_size} dimensions cannot be whitened to {size}")
        self.register_buffer("mean", torch.zeros(text_size))
        self.register_buffer("projection", torch.zeros(text_size if kind == "whitened" else 0, self.size))
        self.register_buffer("fitted", torch.tensor(False))

    @torch.no_grad()
    def fit(self, embeddings: Tensor) -> None:
        """Learn mean and directions.

        A text that stands there more than once weighs more; give each text once to have them weigh the same.

        Args:
            embeddings: (reports, text_size) of the training reports.

        Raises:
            ObjectiveError: another size, a value that is not finite, or reports that vary in too few directions.
        """
        if embeddings.ndim != 2 or embeddings.shape[1] != len(self.mean):
            raise ObjectiveError(
                f"embeddings of reports are {tuple(embeddings.shape)}, not (reports, {len(self.mean)})"
            )
        if not len(embeddings) or not torch.isfinite(embeddings).all():
            raise ObjectiveError("embeddings of reports are missing or not finite; embed the reports again")
        mean = embeddings.mean(dim=0, dtype=torch.float64)
        variance, directions = torch.linalg.eigh(_covariance(embeddings, mean))
        varying = int((variance > LEAST_VARIANCE * (variance.max() + mean.square().sum())).sum())
        needed = self.size if self.kind == "whitened" else 1
        if varying < needed:
            raise ObjectiveError(
                f"the embeddings of {len(embeddings)} reports vary in {varying} directions, {needed} are asked for; "
                "whiten to fewer or use more reports of different text"
            )
        self.mean.copy_(mean)
        if self.kind == "whitened":
            # Of ascending variances, the last `size`, largest first.
            self.projection.copy_((directions[:, -self.size :] * variance[-self.size :].rsqrt()).flip(1))
        self.fitted.fill_(True)

    def forward(self, text: Tensor) -> Tensor:
        """(batch, size) float32 of (batch, text_size) embeddings.

        Raises:
            ObjectiveError: it was never fitted.
        """
        if not self.fitted:
            raise ObjectiveError("the text side was never fitted; call fit with the training reports' embeddings")
        with full_precision(text):
            centred = at_least_float32(text) - self.mean
            return unit(centred) if self.kind == "centred" else centred @ self.projection


def _covariance(embeddings: Tensor, mean: Tensor) -> Tensor:
    """(text_size, text_size) float64; the embeddings are many, so they are taken a few thousand at a time."""
    total = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=embeddings.device)
    for rows in torch.split(embeddings, ROWS_AT_ONCE):
        centred = rows.double() - mean
        total += centred.T @ centred
    return total / len(embeddings)


class VarianceCovariance(nn.Module):
    """The variance and covariance terms of VICReg, over all processes; for the output of a head that is trained.

        variance    v = mean_j max(0, 1 - sqrt(Var_j + 1e-4))
        covariance  c = sum_{i != j} C_ij^2 / d,   C = (x - m)'(x - m) / (n - 1)
        loss = variance_weight v + covariance_weight c

    It is 0 if every dimension has a standard deviation of 1 or more over the batch and no two go together.
    Reference: arXiv 2105.04906 (weights 25 and 1, next to 25 for the agreement of the two sides).
    """

    def __init__(self, variance_weight: float = 1.0, covariance_weight: float = 0.04) -> None:
        super().__init__()
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight

    def forward(self, features: Tensor) -> Tensor:
        """Scalar loss of (batch, d) features of one side.

        Raises:
            ObjectiveError: fewer than two vectors.
        """
        features = gather(features)
        count, size = features.shape
        need_pairs(count, 2, "a variance")
        with full_precision(features):
            features = at_least_float32(features)
            centred = features - features.mean(dim=0)
            covariance = centred.T @ centred / (count - 1)
            variance = covariance.diagonal()
            flat = F.relu(1 - (variance + STABLE).sqrt()).mean()
            together = (covariance.square().sum() - variance.square().sum()) / size
            return self.variance_weight * flat + self.covariance_weight * together
