"""From embeddings to the loss: heads, the text side, and the terms that a training sums."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from align.config import ObjectiveSettings
from align.distributed import gather
from align.objectives import (
    CKALoss,
    InfoNCE,
    ObjectiveError,
    Pointwise,
    ReleasedLoss,
    SigLIP,
    TextGeometry,
    VarianceCovariance,
)

HIDDEN = 1024
DROPOUT = 0.2
HEAD_SIZE = 512
"""Hidden width, dropout and output of the heads as they were released with arXiv 2512.04847."""


def make_head(kind: str, inputs: int, outputs: int) -> nn.Module:
    """A trained map from one space to another: linear, or mlp as released."""
    if kind == "linear":
        return nn.Linear(inputs, outputs)
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, outputs))


class LabelLoss(nn.Module):
    """Binary cross-entropy of the known answers to each task, averaged over tasks: the supervised control.

        loss = mean_t mean_{i known} BCE(w_t' e_i + b_t, y_it)

    Input: embeddings (batch, size), answers (batch, tasks) with NaN for unknown.
    """

    def __init__(self, size: int, tasks: int) -> None:
        super().__init__()
        self.answer = nn.Linear(size, tasks)

    def forward(self, embeddings: Tensor, answers: Tensor) -> Tensor:
        """Return the scalar loss; a task of which nothing is known in the batch counts as 0."""
        logits, answers = gather(self.answer(embeddings)), gather(answers)
        known = ~answers.isnan()
        losses = F.binary_cross_entropy_with_logits(logits, answers.nan_to_num(), reduction="none")
        each = (losses * known).sum(dim=0) / known.sum(dim=0).clamp(min=1)
        return each.mean()


class Alignment(nn.Module):
    """The terms of the loss between embeddings of recordings and of their reports."""

    def __init__(self, settings: ObjectiveSettings, embedding_size: int, text_size: int, tasks: int) -> None:
        """Make heads and terms.

        Args:
            settings: which of them.
            embedding_size: numbers of an audio embedding.
            text_size: numbers of a report's embedding.
            tasks: questions that a supervised training answers.

        Raises:
            ObjectiveError: settings that do not go together.
        """
        super().__init__()
        self.settings = settings
        contrast = settings.name in ("infonce", "siglip")
        trained = settings.text == "head"
        if problem := settings.misfit(tasks):
            raise ObjectiveError(problem)
        size = settings.text_size or (HEAD_SIZE if trained else text_size)
        kind: Literal["centred", "whitened"] = "whitened" if settings.text == "whitened" else "centred"
        self.geometry = TextGeometry(kind, text_size, None if trained else size)
        self.text_head: nn.Module = make_head(settings.audio_head, text_size, size) if trained else nn.Identity()
        self.audio_head = make_head(settings.audio_head, embedding_size, size)
        terms: dict[str, nn.Module] = {}
        if settings.name == "cka":
            terms["alignment"] = CKALoss(settings.debiased, settings.queue, size, size)
        elif settings.name == "released":
            terms["alignment"] = ReleasedLoss()
        elif contrast:
            terms["alignment"] = InfoNCE() if settings.name == "infonce" else SigLIP()
        elif settings.name == "labels":
            terms["labels"] = LabelLoss(embedding_size, tasks)
        if settings.pointwise and settings.name in ("cka", "infonce", "siglip"):
            terms["pointwise"] = Pointwise()
        if settings.variance_covariance:
            terms["collapse"] = VarianceCovariance()
        self.terms = nn.ModuleDict(terms)

    def text_side(self, text: Tensor) -> Tensor:
        """(batch, size) of (batch, text_size): what audio is compared with."""
        side: Tensor = self.text_head(self.geometry(text))
        return side

    def forward(self, embeddings: Tensor, text: Tensor, text_ids: Tensor, answers: Tensor) -> dict[str, Tensor]:
        """Each term with its weight applied.

        Args:
            embeddings: (batch, embedding_size) of recordings.
            text: (batch, text_size) of their reports.
            text_ids: (batch,) int64; equal reports have equal ids.
            answers: (batch, tasks) 1, 0 or NaN.
        """
        losses: dict[str, Tensor] = {}
        if "labels" in self.terms:
            losses["labels"] = self.terms["labels"](embeddings, answers)
        if self.settings.name in ("labels", "none"):
            return losses
        audio, side = self.audio_head(embeddings), self.text_side(text)
        contrast = (text_ids,) if self.settings.name in ("infonce", "siglip") else ()
        losses["alignment"] = self.settings.weight * self.terms["alignment"](audio, side, *contrast)
        if "pointwise" in self.terms:
            losses["pointwise"] = self.settings.pointwise * self.terms["pointwise"](audio, side)
        if "collapse" in self.terms:
            collapse = self.terms["collapse"](audio) + (
                self.terms["collapse"](side) if self.settings.text == "head" else 0
            )
            losses["collapse"] = self.settings.variance_covariance * collapse
        return losses
