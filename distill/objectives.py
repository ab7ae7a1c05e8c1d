"""What a student learns from a teacher by: one small class a loss, and their weighted sum.

`EmbeddingCosine` and `EmbeddingRegression` bring the student's projected embedding to where the teacher's lies;
`Relational` and `CenteredKernelAlignment` bring only the distances within a batch to those of the teacher and so need
no projector; `SoftLabels` and `HardLabels` are of the clip labels' logits. None of them holds a net or a schedule.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from align.objectives import linear_cka
from distill.module import WINDOW_LOSS_WEIGHT, MaskedBinaryCrossEntropy
from distill.moments import of_windows
from distill.teach_config import ObjectiveWeights


class Taught(NamedTuple):
    """What a student says of a batch, and what it is to learn."""

    embedding: Tensor
    """(batch, embedding_size) of the student."""
    projected: Tensor
    """(batch, teacher_size): the same through the projector."""
    logits: Tensor
    """(batch, labels) of the clip labels."""
    teacher: Tensor
    """(batch, teacher_size): the teacher's embeddings of the same views."""
    teacher_logits: Tensor
    """(batch, labels) of the teacher's heads."""
    answers: Tensor
    """(batch, labels): 1, 0, or NaN where nobody knows."""
    step_logits: Tensor
    """(batch, steps, events)."""
    window_logits: Tensor
    """(batch, events): whether the window holds the event at all."""
    moments: Tensor
    """(batch, steps, events) of `distill.targets`."""


class EmbeddingCosine(nn.Module):
    """1 - mean cosine of the projected embedding and the teacher's.

        loss = 1 - mean_i cos(p_i, t_i)

    Inputs (batch, d). It minds the direction alone. Reference: tinyCLAP, arXiv 2311.14517.
    """

    def forward(self, projected: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss."""
        return 1 - F.cosine_similarity(projected, teacher, dim=1).mean()


class EmbeddingRegression(nn.Module):
    """Smooth L1 between the projected embedding and the teacher's, dimension by dimension.

        loss = mean_ij h(p_ij - t_ij),   h(x) = x^2 / 2 if |x| < 1, else |x| - 1/2

    Inputs (batch, d); the teacher's are standardised over the training recordings, so that 1 is a standard deviation.
    References: Girshick, arXiv 1504.08083 (the loss); Romero et al., arXiv 1412.6550 (regression through a projector).
    """

    def forward(self, projected: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss."""
        return F.smooth_l1_loss(projected, teacher)


class Relational(nn.Module):
    """Mean squared difference of the two matrices of cosines within the batch, of centred embeddings.

        S = cos(s_i - m_s, s_j - m_s),  T likewise of the teacher:   loss = sum_{i != j} (S_ij - T_ij)^2 / (n (n - 1))

    Inputs (batch, d_s) and (batch, d_t), at least 3 of each. Needs no projector: the student may lie anywhere, turned
    and scaled. Centring keeps a common direction of all embeddings from making everything alike. Reference: Tung and
    Mori, similarity-preserving distillation, arXiv 1907.09682.
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss."""
        count = len(student)
        # Of the diagonals there is no difference: both are 1.
        return (_cosines(student) - _cosines(teacher)).square().sum() / (count * (count - 1))


def _cosines(features: Tensor) -> Tensor:
    unit = F.normalize(features - features.mean(dim=0), dim=1, eps=1e-6)
    return unit @ unit.T


class CenteredKernelAlignment(nn.Module):
    """1 - debiased linear CKA of the two batches (`align.objectives.linear_cka`), for batches of 128 or more.

    Inputs (batch, d_s) and (batch, d_t), at least 4 of each. Reference: Kornblith et al., arXiv 1905.00414; debiased as
    in arXiv 2010.15327.
    """

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss."""
        return 1 - linear_cka(student, teacher, debiased=True)


class SoftLabels(nn.Module):
    """Cross-entropy to the probabilities of the teacher's heads at a temperature, less what no student can avoid.

        loss = T^2 mean_ij KL(Bernoulli(sigmoid(t_ij / T)) || Bernoulli(sigmoid(z_ij / T)))

    Inputs (batch, labels). T^2 keeps the gradient's size whatever the temperature. Reference: Hinton et al., arXiv
    1503.02531, for labels that do not exclude each other.
    """

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, logits: Tensor, teacher_logits: Tensor) -> Tensor:
        """Return the scalar loss."""
        target = torch.sigmoid(teacher_logits / self.temperature)
        crossed = F.binary_cross_entropy_with_logits(logits / self.temperature, target)
        unavoidable = F.binary_cross_entropy_with_logits(teacher_logits / self.temperature, target)
        return self.temperature**2 * (crossed - unavoidable)


class HardLabels(nn.Module):
    """Binary cross-entropy to the answers that are known, averaged over each label and then over labels.

    Inputs: logits (batch, labels) and answers with NaN for unknown. A label of which nothing is known counts as 0.
    """

    def forward(self, logits: Tensor, answers: Tensor) -> Tensor:
        """Return the scalar loss."""
        known = ~answers.isnan()
        losses = F.binary_cross_entropy_with_logits(logits, answers.nan_to_num(), reduction="none")
        return ((losses * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)).mean()


class Events(nn.Module):
    """Cross-entropy of what is known of each step, and half of that of the whole window, as `distill.train` has them.

    Inputs: logits (batch, steps, events) and (batch, events), targets (batch, steps, events).
    """

    def __init__(self) -> None:
        super().__init__()
        self.known = MaskedBinaryCrossEntropy()

    def forward(self, step_logits: Tensor, window_logits: Tensor, moments: Tensor) -> Tensor:
        """Return the scalar loss."""
        of_steps: Tensor = self.known(step_logits, moments)
        of_window: Tensor = self.known(window_logits, of_windows(moments))
        return of_steps + WINDOW_LOSS_WEIGHT * of_window


class TeachingLoss(nn.Module):
    """The losses that have a weight and something to learn from, each with its weight applied."""

    def __init__(self, weights: ObjectiveWeights) -> None:
        super().__init__()
        self.weights = weights
        self.cosine, self.smooth_l1 = EmbeddingCosine(), EmbeddingRegression()
        self.relational, self.cka = Relational(), CenteredKernelAlignment()
        self.soft_labels, self.hard_labels = SoftLabels(weights.temperature), HardLabels()
        self.events = Events()

    def forward(self, taught: Taught) -> dict[str, Tensor]:
        """Scalars by name; in float32, whatever the net is trained in."""
        with torch.autocast(taught.embedding.device.type, enabled=False):
            said = Taught(*(values.float() for values in taught))
            inputs = {
                "cosine": (said.projected, said.teacher),
                "smooth_l1": (said.projected, said.teacher),
                "relational": (said.embedding, said.teacher),
                "cka": (said.embedding, said.teacher),
                "soft_labels": (said.logits, said.teacher_logits),
                "hard_labels": (said.logits, said.answers),
                "events": (said.step_logits, said.window_logits, said.moments),
            }
            weights = {name: float(getattr(self.weights, name)) for name in inputs if inputs[name][0].shape[-1]}
            return {name: weight * getattr(self, name)(*inputs[name]) for name, weight in weights.items() if weight > 0}
