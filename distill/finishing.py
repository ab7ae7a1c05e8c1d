"""The end of a course: heads fitted and calibrated, texts given a direction, all put into one student.

What is learnt by then is frozen: nothing here changes what the student hears (`distill.teaching` does).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from align.aligned import read_learnt_from
from align.corpora import Recording
from align.heads import Alignment
from align.tasks import Examples, Task, examples
from align.teacher import embed_reports
from align.teacher.spec import TeacherSpec
from distill.checkpoint import PERSON, LabelSpec, TaughtStudent
from distill.embedding import BATCH_SIZE, embed_recordings
from distill.heads import Head, calibrate, fit_head
from distill.kept import Kept
from distill.lessons import Lessons, Views
from distill.origins import corpora_of
from distill.prompts import TextMap, fit_text_map
from distill.student import Student
from distill.teach_config import TeachSettings
from distill.teacher import Teacher
from distill.teaching import TeachingTask
from edge.errors import UserError


@dataclass(frozen=True)
class Texts:
    """What a language model makes of the labels made of text."""

    alignment: Alignment
    spec: TeacherSpec
    vectors: NDArray[np.float32]
    """(2 labels, text_size): positive and negative text of each label in turn."""


@dataclass(frozen=True)
class Pupils:
    """Who is taught, and who is asked."""

    train: Views
    held_out: Views
    """One view of each validation recording."""
    lessons: Lessons
    heard: Kept
    """Log-mels of the training views."""
    held_out_lessons: Lessons


def open_texts(settings: TeachSettings, teacher: Teacher) -> Texts | None:
    """The teacher's language model and what it makes of the labels' texts; none for a plain encoder.

    Raises:
        UserError: there are such labels, but audio and text were not aligned so that they can be compared.
    """
    if teacher.aligned is None:
        return None
    spec = read_learnt_from(teacher.aligned).teacher
    try:
        alignment = teacher.alignment()
    except UserError:
        if settings.text_labels:
            raise
        return None
    if alignment.settings.text == "head":
        if settings.text_labels:
            raise UserError(
                f"{teacher.aligned}: aligned with a text head that was trained along, so that new texts have no place; "
                "leave text_labels out, or align with --objective.text centred"
            )
        return None
    prompts = [text for label in settings.text_labels for text in (label.positive, label.negative)]
    vectors = embed_reports(prompts, spec, settings.teacher.text_cache) if prompts else np.zeros((0, 0), np.float32)
    return Texts(alignment, spec, vectors)


def of_recordings(question: Task, rows: Sequence[Recording], features: NDArray[np.float32]) -> Examples:
    """The question asked of each recording, as a device does, whoever it is of."""
    return examples(question.model_copy(update={"unit": "recording"}), rows, features)


def finish(
    task: TeachingTask, taught: Pupils, settings: TeachSettings, teacher: Teacher, texts: Texts | None
) -> tuple[TaughtStudent, dict[str, Any]]:
    """The student with its heads, and the figures of the validation people."""
    task.eval().cpu()
    figures = {f"validation/{name}": value for name, value in task.judge().items()}
    student, log_mel, length = task.student, task.log_mel, taught.train.length
    embedded = {
        views: embed_recordings(student, log_mel, views.clips, length) for views in (taught.train, taught.held_out)
    }
    heads: dict[str, Head] = {}
    for question in settings.tasks:
        fitted, asked = (of_recordings(question, views.clips.rows, found) for views, found in embedded.items())
        heads[question.name] = calibrate(fit_head(fitted), asked)
    put_heads(student, heads.values())
    figures |= {f"fitted/{name}": value for name, value in task.judge().items()}
    labels = (
        *(LabelSpec(name=event, kind="frame") for event in settings.events),
        *(
            LabelSpec(name=question.name, kind="clip", task=question, temperature=heads[question.name].temperature)
            for question in settings.tasks
        ),
    )
    result = TaughtStudent(
        student,
        labels,
        settings.front_end,
        settings.window_s,
        settings.hop_s,
        provenance(settings, taught),
        {"teacher": teacher.name, "sha256": teacher.sha256, "parameters": teacher.parameters},
    )
    if texts is not None:
        of_views = embed_views(task, taught)
        text_map = fit_text_map(of_views, taught.lessons[0].astype(np.float32), texts.alignment.cpu(), texts.spec)
        figures["text_agreement"] = text_map.agreement
        result = add_text_labels(result, text_map, texts, settings)
    return result, figures


@torch.no_grad()
def put_heads(student: Student, heads: Collection[Head]) -> None:
    """Make the student's last labels those of the heads, in their order."""
    for row, head in enumerate(heads, start=student.shape.labels - len(heads)):
        student.window_head.weight[row] = torch.from_numpy(head.weight)
        student.window_head.bias[row] = head.bias


@torch.inference_mode()
def embed_views(task: TeachingTask, taught: Pupils) -> NDArray[np.float32]:
    """(recordings, embedding_size) of the student: the first view of each training recording."""
    batches = torch.split(torch.from_numpy(taught.heard[0].astype(np.float32)), BATCH_SIZE)
    return np.concatenate([task.student(batch)[0].numpy() for batch in batches])


def add_text_labels(student: TaughtStudent, text_map: TextMap, texts: Texts, settings: TeachSettings) -> TaughtStudent:
    """The student with its text map and a label for each pair of texts."""
    rows = []
    for number, label in enumerate(settings.text_labels):
        weight, bias = text_map.row(texts.vectors[2 * number], texts.vectors[2 * number + 1])
        rows.append(weight)
        spec = LabelSpec(
            name=label.name,
            kind="clip",
            origin="text",
            task=next((task for task in settings.tasks if task.name == label.like), None),
            positive=label.positive,
            negative=label.negative,
        )
        student = student.with_label(spec, weight, bias)
    return student.with_text(text_map.state(), [label.name for label in settings.text_labels], rows)


def provenance(settings: TeachSettings, taught: Pupils) -> dict[str, Any]:
    """Who was heard, and how to hold out the same people again."""
    rows = [*taught.train.clips.rows, *taught.held_out.clips.rows]
    return {
        "corpora": corpora_of(rows),
        "include_corpora": list(settings.corpora),
        "exclude_corpora": [],
        "validation_share": settings.validation_share,
        "seed": settings.seed,
        "person": PERSON,
    }
