"""Open vocabulary: a label made of two texts, without one recording of it.

The teacher was aligned to a language model: its audio head puts a recording where the report of it would lie. A ridge
regression, fitted on the views that the student was taught with, leads from the student's embedding to that place. So
a text's direction is a direction in the student's space, and a label is the row of a head:

    side(e) = W (e - m) + c       d = text(positive) - text(negative)       logit(e) = d' W (e - m) / sqrt(d' W C W' d)

with m and C the mean and covariance of the student's embeddings. The logit has mean 0 and variance 1 over the training
views: it ranks recordings, and is no probability. Zero-shot classification by two prompts as in CLIP (arXiv
2103.00020), but for the norm of side(e), which does not change which prompt is nearer. It neither trains nor runs a
net; `distill.label` adds labels to a student that is finished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align.heads import Alignment
from align.objectives import TextGeometry
from align.teacher.spec import TeacherSpec
from distill.checkpoint import StudentError

RIDGE = 1e-2
"""Penalty, as a share of the mean variance of the student's dimensions."""

LEAST_DEVIATION = 1e-6
"""Spread of a direction over recordings below which two texts mean the same to the student."""


@dataclass(frozen=True)
class TextMap:
    """What leads from the student's embedding to where reports lie."""

    weight: Tensor
    """W, (side_size, embedding_size) float32."""
    mean: Tensor
    """m, (embedding_size,)."""
    covariance: Tensor
    """C, (embedding_size, embedding_size)."""
    kind: str
    text_mean: Tensor
    text_projection: Tensor
    """What puts a text's embedding to its place (`align.objectives.TextGeometry`)."""
    teacher: TeacherSpec
    """The language model that reads a prompt."""
    agreement: float
    """Mean cosine between side(e) and the teacher's own place, over the training views."""

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        given = {name: value for name, value in vars(self).items() if name != "teacher"}
        return given | {"teacher": self.teacher.model_dump(mode="json")}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> TextMap:
        """Open what `state` gave.

        Raises:
            StudentError: something is missing.
        """
        try:
            given = {name: state[name] for name in cls.__dataclass_fields__ if name != "teacher"}
            return cls(**given, teacher=TeacherSpec(**state["teacher"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StudentError(f"the student's text map does not fit this version: {error}; teach again") from error

    @torch.inference_mode()
    def side(self, text: NDArray[np.float32]) -> Tensor:
        """(texts, side_size): where texts with these embeddings (texts, text_size) lie."""
        whitened = self.kind == "whitened"
        geometry = TextGeometry(
            "whitened" if whitened else "centred",
            len(self.text_mean),
            self.text_projection.shape[1] if whitened else None,
        )
        geometry.load_state_dict(
            {"mean": self.text_mean, "projection": self.text_projection, "fitted": torch.tensor(True)}
        )
        placed: Tensor = geometry(torch.from_numpy(text))
        return placed

    def row(self, positive: NDArray[np.float32], negative: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Weight (embedding_size,) and bias of a label.

        Args:
            positive: (text_size,) the language model's embedding of what a recording with it would be reported as.
            negative: of one without.

        Raises:
            StudentError: to the student the two texts mean the same.
        """
        both = self.side(np.stack([positive, negative])).double()
        direction = self.weight.double().T @ (both[0] - both[1])
        deviation = (direction @ self.covariance.double() @ direction).clamp_min(0).sqrt()
        if float(deviation) < LEAST_DEVIATION:
            raise StudentError("the two texts mean the same to the student; write what tells one from the other")
        weight = direction / deviation
        return weight.float(), -(weight @ self.mean.double()).float()


def fit_text_map(
    embeddings: NDArray[np.float32], teacher: NDArray[np.float32], alignment: Alignment, spec: TeacherSpec
) -> TextMap:
    """Regress from the student's embeddings to where the teacher's audio head puts the same views.

    Args:
        embeddings: (views, embedding_size) of the student.
        teacher: (views, teacher_size) of the teacher, of the same views.
        alignment: of the teacher, with a fixed text side.
        spec: the language model that it was aligned to.

    Raises:
        StudentError: its text side was trained along, so that new texts cannot be placed.
    """
    geometry = alignment.geometry
    if alignment.settings.text == "head":
        raise StudentError("the teacher was aligned with a trained text head (objective.text = head); use centred text")
    alignment.eval()
    with torch.inference_mode():
        target = torch.nn.functional.normalize(alignment.audio_head(torch.from_numpy(teacher)).double(), dim=1)
    given = torch.from_numpy(embeddings).double()
    mean = given.mean(dim=0)
    centred, offset = given - mean, target.mean(dim=0)
    covariance = centred.T @ centred / len(centred)
    penalty = RIDGE * covariance.diagonal().mean() * torch.eye(len(covariance), dtype=torch.float64)
    weight = torch.linalg.solve(covariance + penalty, centred.T @ (target - offset) / len(centred)).T
    agreement = torch.nn.functional.cosine_similarity(centred @ weight.T + offset, target, dim=1).mean()
    state = geometry.state_dict()
    return TextMap(
        weight.float(),
        mean.float(),
        covariance.float(),
        geometry.kind,
        state["mean"].clone(),
        state["projection"].clone(),
        spec,
        float(agreement),
    )
