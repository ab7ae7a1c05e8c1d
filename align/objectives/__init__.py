"""What an audio encoder is aligned by: losses between embeddings of recordings and of their reports.

`cka` compares geometries; `contrastive` and `pointwise` compare vector with vector, as retrieval does; `collapse` holds
what keeps two free heads from agreeing on nothing; `released` is a control. Each loss gathers the batch over all
processes itself (`align.distributed`). None of them holds a head, an encoder or a schedule.
"""

from __future__ import annotations

from align.objectives.cka import CKALoss, linear_cka
from align.objectives.collapse import TextGeometry, VarianceCovariance
from align.objectives.contrastive import InfoNCE, SigLIP
from align.objectives.errors import ObjectiveError
from align.objectives.pointwise import Pointwise
from align.objectives.released import ReleasedLoss

__all__ = [
    "CKALoss",
    "InfoNCE",
    "ObjectiveError",
    "Pointwise",
    "ReleasedLoss",
    "SigLIP",
    "TextGeometry",
    "VarianceCovariance",
    "linear_cka",
]
