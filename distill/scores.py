"""A student's figures on its test people: what `python -m distill.evaluate` prints. It knows no program's flags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from align.baseline import log_mel_statistics
from align.checkpointing import load_encoder
from align.clips import Clips
from align.corpora import CorpusError
from align.embedding import embed_recordings as embed_by_encoder
from align.scores import CHANCE, Features, Part, open_parts, people_by_answer, probed, write_figures
from align.statistics import Interval, auroc_difference, auroc_interval
from align.tasks import Examples, Task, examples
from distill.checkpoint import LabelSpec, TaughtStudent, load_student
from distill.embedding import embed_recordings
from distill.frontend import LogMel
from distill.heads import calibration_error
from distill.quantised import QuantisedStudent
from distill.student import Student
from distill.student_config import EvaluateSettings
from edge.errors import UserError

OBSERVED_RECORDINGS = 256
"""Training recordings that set the ranges of the simulated INT8."""


@dataclass(frozen=True)
class Heard:
    """What was made of the recordings, by student, regression and teacher."""

    clips: Mapping[Part, Clips]
    plain: NDArray[np.float32]
    """(test recordings, embedding_size) of the student."""
    int8: NDArray[np.float32]
    """The same in simulated INT8."""
    log_mel: Features
    teacher: Features | None


@dataclass(frozen=True)
class LabelFigures:
    """One label on the test people."""

    task: str
    made_of_text: bool
    student: Interval
    """AUROC of its head."""
    int8: Interval
    """The same with weights and activations rounded to 8 bits."""
    int8_less: Interval
    """INT8 less float32, paired."""
    log_mel_statistics: Interval
    """AUROC of a regression on mean and deviation of mel bands."""
    better_by: Interval
    """Student less that, paired."""
    than_head: Interval | None
    """Of a label made of text: AUROC less that of the head that was taught the question, paired."""
    teacher: Interval | None
    """AUROC of a probe on the teacher's embeddings."""
    calibration_error: float
    chance: float
    people_yes: int
    people_no: int


def evaluate(settings: EvaluateSettings) -> dict[str, LabelFigures]:
    """The figures of each label whose question the recordings answer, by its name.

    Raises:
        UserError: student, recordings or teacher are missing or wrong, or no label has a question.
    """
    taught = load_student(settings.student)
    asked = [(row, label) for row, label in enumerate(taught.labels) if label.task is not None]
    if not asked:
        raise UserError(f"{settings.student}: none of its labels answers a question of the recordings' columns")
    clips = open_parts(settings.recordings, taught.front_end.sample_rate_hz, taught.data.get("include_corpora", ()))
    plain, int8 = embed_both(taught, clips)
    log_mel = {part: log_mel_statistics(clips[part], taught.front_end.sample_rate_hz) for part in clips}
    heard = Heard(clips, plain, int8, log_mel, _teacher(settings, taught) if settings.teacher else None)
    return {label.name: of_label(taught, row, label, heard, settings.rounds) for row, label in asked}


def embed_both(taught: TaughtStudent, clips: Mapping[Part, Clips]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings (recordings, embedding_size) of the test recordings, in float32 and in simulated INT8."""
    log_mel, length = LogMel(taught.front_end), taught.window_samples
    quantised = QuantisedStudent(taught.student).eval()
    some = np.linspace(0, len(clips["train"]) - 1, min(OBSERVED_RECORDINGS, len(clips["train"]))).astype(int)
    embed_recordings(taught.student, log_mel, clips["train"].keep(some.tolist()), length, hear=quantised.observe)
    plain = embed_recordings(taught.student, log_mel, clips["test"], length)
    return plain, embed_recordings(taught.student, log_mel, clips["test"], length, hear=quantised)


def head_logits(student: Student, row: int, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """(recordings, 1): what the window's head says of embeddings, for the label in this row."""
    weight = student.window_head.weight[row].detach().numpy()
    bias = float(student.window_head.bias[row].detach())
    return np.asarray(embeddings @ weight + bias, dtype=np.float32)[:, None]


def of_label(taught: TaughtStudent, row: int, label: LabelSpec, heard: Heard, rounds: int) -> LabelFigures:
    """The figures of the label in a row of the student's head, whose question the recordings answer.

    Raises:
        CorpusError: all test people have one answer, or there are too few training people of one.
    """
    task = label.task
    assert task is not None  # noqa: S101 - only such labels are asked

    def said(place: int, embeddings: NDArray[np.float32]) -> Examples:
        return examples(task, heard.clips["test"].rows, head_logits(taught.student, place, embeddings))

    asked = said(row, heard.plain)
    answers, groups, scores = asked.answers, asked.groups, asked.features[:, 0]
    if answers.all() or not answers.any():
        raise CorpusError(f"label {label.name}: all test people have one answer ({task.column}); an AUROC needs both")
    in_int8, of_log_mel = said(row, heard.int8).features[:, 0], probed(task, heard.clips, heard.log_mel)[0]
    head = next((place for place, other in enumerate(taught.labels) if _is_head(other, task)), None)
    than_head = teacher = None
    if label.origin == "text" and head is not None:
        of_head = said(head, heard.plain).features[:, 0]
        than_head = auroc_difference(answers, scores, of_head, groups, rounds=rounds)
    if heard.teacher is not None:
        teacher = auroc_interval(answers, probed(task, heard.clips, heard.teacher)[0], groups, rounds=rounds)
    people = people_by_answer(asked)
    return LabelFigures(
        task=task.name,
        made_of_text=label.origin == "text",
        student=auroc_interval(answers, scores, groups, rounds=rounds),
        int8=auroc_interval(answers, in_int8, groups, rounds=rounds),
        int8_less=auroc_difference(answers, in_int8, scores, groups, rounds=rounds),
        log_mel_statistics=auroc_interval(answers, of_log_mel, groups, rounds=rounds),
        better_by=auroc_difference(answers, scores, of_log_mel, groups, rounds=rounds),
        than_head=than_head,
        teacher=teacher,
        calibration_error=calibration_error(1.0 / (1.0 + np.exp(-scores.astype(np.float64))), answers),
        chance=CHANCE,
        people_yes=people[True],
        people_no=people[False],
    )


def _is_head(label: LabelSpec, task: Task) -> bool:
    return label.origin == "taught" and label.task == task


def _teacher(settings: EvaluateSettings, taught: TaughtStudent) -> Features:
    assert settings.teacher is not None  # noqa: S101 - asked for by the caller
    encoder = load_encoder(settings.teacher)
    clips = open_parts(settings.recordings, encoder.sample_rate_hz, taught.data.get("include_corpora", ()))
    return {part: embed_by_encoder(encoder, clips[part], torch.device("cpu")) for part in clips}


def table(figures: Mapping[str, LabelFigures]) -> str:
    """The figures as lines."""
    width = max(len("label"), *map(len, figures))
    lines = [
        f"{'label':{width}}  people yes/no  {'AUROC of student':22}  {'in INT8':22}  {'log-mel statistics':22}  chance"
    ]
    for name, found in figures.items():
        people = f"{found.people_yes} / {found.people_no}"
        lines.append(
            f"{name:{width}}  {people:>13}  {found.student!s:22}  {found.int8!s:22}  {found.log_mel_statistics!s:22}  "
            f"{found.chance:.3f}"
        )
    for name, found in figures.items():
        lines.append(
            f"{name}: better than log-mel statistics by {found.better_by}; INT8 changes it by {found.int8_less}"
        )
        if found.teacher is not None:
            lines.append(f"{name}: probe on the teacher {found.teacher}")
        if found.than_head is not None:
            lines.append(f"{name}: made of two texts; less the head that was taught {found.task}: {found.than_head}")
        else:
            lines.append(f"{name}: expected calibration error {found.calibration_error:.3f}")
    return "\n".join(lines)


def write_evaluation(settings: EvaluateSettings, figures: Mapping[str, LabelFigures]) -> Path:
    """Write `evaluation.json` beside the student, and return its path.

    Raises:
        UserError: it cannot be written.
    """
    labels = {name: asdict(found) for name, found in figures.items()}
    given = {"student": str(settings.student), "recordings": str(settings.recordings)}
    return write_figures(settings.student.parent, given | {"labels": labels})
