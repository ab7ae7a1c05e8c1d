"""What a training is judged by on people it does not learn from: probes and retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from align.embedding import embed_recordings
from align.module import AlignmentTask
from align.pairs import Pairs
from align.probe import probe_scores
from align.retrieval import distinct, recall, similarities
from align.statistics import auroc
from align.tasks import Task, examples


@dataclass(frozen=True)
class Judged:
    """Pairs and the embeddings of their reports, (recordings, text_size)."""

    pairs: Pairs
    text: NDArray[np.float32]


def judge(task: AlignmentTask, train: Judged, held_out: Judged, tasks: Sequence[Task]) -> dict[str, float]:
    """AUROC of each task by a probe that training people fit, and recall of the held-out people's reports."""
    train_embeddings, embeddings = (
        embed_recordings(task.encoder, judged.pairs.clips, task.device) for judged in (train, held_out)
    )
    figures: dict[str, float] = {}
    for question in tasks:
        fitted = examples(question, train.pairs.clips.rows, train_embeddings)
        asked = examples(question, held_out.pairs.clips.rows, embeddings)
        if asked.answers.all() or not asked.answers.any():
            continue
        figures[f"auroc_{question.name}"] = auroc(asked.answers, probe_scores(fitted, asked))
    if can_compare(task):
        found = recall(*compare(task, embeddings, held_out.pairs.reports, held_out.text))
        figures |= {f"recall_at_{cut}": share for cut, share in found.at.items()}
        figures["median_rank"] = found.median_rank
    return figures


def can_compare(task: AlignmentTask) -> bool:
    """Whether the training put recordings where their reports lie, which retrieval needs."""
    return "pointwise" in task.alignment.terms or task.objective.name in ("infonce", "siglip")


@torch.inference_mode()
def compare(
    task: AlignmentTask, embeddings: NDArray[np.float32], reports: Sequence[str], text: NDArray[np.float32]
) -> tuple[NDArray[np.float32], list[int]]:
    """Cosine of every recording with every different report, and the column of each report among those.

    Args:
        task: the alignment.
        embeddings: (recordings, embedding_size).
        reports: texts; may repeat.
        text: (len(reports), text_size), their embeddings.
    """
    first, own = distinct(reports)
    was_training = task.alignment.training
    task.alignment.eval()
    audio = task.alignment.audio_head(torch.from_numpy(embeddings).to(task.device))
    side = task.alignment.text_side(torch.from_numpy(text[first]).to(task.device))
    task.alignment.train(was_training)
    return similarities(audio.float().cpu().numpy(), side.float().cpu().numpy()), own
