"""An encoder's figures on its test people: what `python -m align.evaluate` prints. It knows no program's flags."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from align.aligned import read_learnt_from
from align.aligned_config import EvaluateSettings
from align.baseline import log_mel_statistics
from align.checkpointing import load_encoder
from align.clips import Clips, open_clips
from align.corpora import CorpusError, Recording
from align.corpora.splits import refuse_leaks
from align.embedding import embed_recordings
from align.files import write_whole
from align.probe import probe_scores
from align.statistics import Interval, auroc_interval
from align.tasks import Examples, Task, examples
from edge.errors import UserError

CHANCE = 0.5
Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")
Features = Mapping[Part, NDArray[np.float32]]


@dataclass(frozen=True)
class Evaluation:
    """A task's figures on the test split."""

    encoder: Interval
    """AUROC of the probe on the encoder's embeddings."""
    log_mel_statistics: Interval
    """The same of the probe on mean and deviation of mel bands."""
    chance: float
    people_yes: int
    people_no: int


def evaluate(settings: EvaluateSettings) -> dict[str, Evaluation]:
    """The figures of each task, by its name.

    Raises:
        UserError: folder, recordings or tasks are missing or wrong.
    """
    learnt = read_learnt_from(settings.aligned)
    tasks = settings.tasks or learnt.tasks
    if not tasks:
        raise UserError(f"{settings.aligned}: trained without tasks; name them in a --config file as [[tasks]]")
    encoder = load_encoder(settings.aligned)
    clips = open_parts(settings.recordings, encoder.sample_rate_hz, learnt.corpora)
    for task in tasks:
        _refuse_one_sided(task, clips["test"].rows, settings.recordings)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    encoder.to(device)
    learnt_features = {part: embed_recordings(encoder, clips[part], device) for part in PARTS}
    plain = {part: log_mel_statistics(clips[part], encoder.sample_rate_hz) for part in PARTS}
    return {task.name: evaluate_task(task, clips, learnt_features, plain) for task in tasks}


def table(evaluations: Mapping[str, Evaluation]) -> str:
    """The figures as lines."""
    width = max(len("task"), *map(len, evaluations))
    lines = [f"{'task':{width}}  people yes/no  {'AUROC of encoder':22}  {'log-mel statistics':22}  chance"]
    for name, found in evaluations.items():
        people = f"{found.people_yes} / {found.people_no}"
        lines.append(
            f"{name:{width}}  {people:>13}  {found.encoder!s:22}  {found.log_mel_statistics!s:22}  {found.chance:.3f}"
        )
    return "\n".join(lines)


def write_evaluation(settings: EvaluateSettings, evaluations: Mapping[str, Evaluation]) -> Path:
    """Write `evaluation.json` into the folder of the training, and return its path.

    Raises:
        UserError: it cannot be written.
    """
    tasks = {name: asdict(found) for name, found in evaluations.items()}
    return write_figures(settings.aligned, {"recordings": str(settings.recordings), "tasks": tasks})


def write_figures(folder: Path, figures: Mapping[str, Any]) -> Path:
    """Write JSON values as `evaluation.json` into a folder, and return its path.

    Raises:
        UserError: it cannot be written.
    """
    path = folder / "evaluation.json"
    try:
        write_whole(path, json.dumps(figures, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
    return path


def open_parts(source: Path, sample_rate_hz: int, corpora: Sequence[str]) -> dict[Part, Clips]:
    """Training and test recordings.

    Raises:
        CorpusError: the table is wrong, has a person in two splits, or no recording of one of the two.
    """
    clips = open_clips(source, sample_rate_hz, corpora)
    for reason in clips.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    refuse_leaks(str(source), clips.rows)
    parts: dict[Part, Clips] = {}
    for part in PARTS:
        kept = [index for index, row in enumerate(clips.rows) if row.split == part]
        if not kept:
            raise CorpusError(f"{source}: no recordings with split {part}; a probe is fitted on train, scored on test")
        parts[part] = clips.keep(kept)
    return parts


def _refuse_one_sided(task: Task, rows: Sequence[Recording], source: Path) -> None:
    asked = examples(task, rows, np.zeros((len(rows), 1), dtype=np.float32))
    if asked.answers.all() or not asked.answers.any():
        lacking = "no" if asked.answers.any() else "yes"
        raise CorpusError(
            f"{source}: task {task.name}: nobody in the test split has the answer {lacking} ({task.column}); an AUROC "
            "needs both"
        )


def evaluate_task(task: Task, clips: Mapping[Part, Clips], learnt: Features, plain: Features) -> Evaluation:
    """The figures of one task: probes that training people fit, on embeddings and on plain features of test people.

    Raises:
        CorpusError: there are too few people of an answer.
    """

    def interval(features: Features) -> tuple[Interval, Examples]:
        scores, asked = probed(task, clips, features)
        return auroc_interval(asked.answers, scores, asked.groups), asked

    try:
        encoder, asked = interval(learnt)
        baseline, _ = interval(plain)
    except CorpusError as error:
        raise CorpusError(f"task {task.name}: {error}") from error
    except ValueError as error:
        raise CorpusError(f"task {task.name}: no interval on the test split ({error})") from error
    people = people_by_answer(asked)
    return Evaluation(encoder, baseline, CHANCE, people[True], people[False])


def probed(task: Task, clips: Mapping[Part, Clips], features: Features) -> tuple[NDArray[np.float64], Examples]:
    """Scores (units,) of the test units by a probe that the training units fit, and these test units.

    Raises:
        CorpusError: there are too few people of an answer.
    """
    fitted, asked = (examples(task, clips[part].rows, features[part]) for part in PARTS)
    return probe_scores(fitted, asked), asked


def people_by_answer(asked: Examples) -> dict[bool, int]:
    """How many people gave each answer."""
    return {
        answer: len({group for group, given in zip(asked.groups, asked.answers, strict=True) if given == answer})
        for answer in (True, False)
    }
