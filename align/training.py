"""A whole training: recordings, reports and teacher opened, the encoder aligned, its figures written.

`align.train` is its program; the loop is in `align.loop`, the step in `align.module`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import lightning
import numpy as np
import torch
from numpy.typing import NDArray

from align.checkpointing import WEIGHTS, read_resumable, save_encoder
from align.clips import open_clips
from align.config import AlignSettings, is_demonstration
from align.corpora.recording import Split
from align.encoders import build_encoder
from align.figures import plot_training
from align.files import write_whole
from align.loop import AlignmentData, make_trainer
from align.module import AlignmentTask
from align.pairs import Pairs, pair, read_reports, text_ids
from align.probe import need_people
from align.report import report
from align.reports.config import ReportSettings
from align.runs import claim, join_logs, telling_of_full_disk
from align.synthetic import write_corpus
from align.tasks import examples
from align.teacher import embed_reports
from align.validation import Judged, judge
from edge.settings import to_toml

DEMO_PEOPLE = 400

MAY_CHANGE = ("output", "validate_epochs", "workers", "checkpoint_steps", "teacher_cache")
"""Settings that may change between the stop and the resumption of a training."""


def train(settings: AlignSettings) -> AlignmentTask:
    """Train, or resume, and return the task with the weights that were kept.

    Raises:
        UserError: the input is wrong, the output cannot be written or holds a training with other settings.
        TrainingError: too many clips or gradients are not finite.
    """
    output, last = settings.output, settings.output / "last.ckpt"
    first = is_first_process()
    if first:
        claim(output, to_toml(settings), MAY_CHANGE)
    done = batches_done(last)
    splits, texts = open_pairs(settings)
    pairs = splits["train"]
    # Right before the weights are made, so that they depend on the seed alone.
    lightning.seed_everything(settings.seed, verbose=False)
    task = make_task(settings, pairs, texts["train"])
    need_train_people(settings, splits)
    train_people, held_out = Judged(pairs, texts["train"]), Judged(splits["validation"], texts["validation"])
    task.judge = lambda: judge(task, train_people, held_out, settings.tasks)
    trainer = make_trainer(settings, len(pairs))
    with telling_of_full_disk(output):
        trainer.fit(
            task,
            datamodule=AlignmentData(pairs, task.encoder.clip_samples, settings, done),
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
        if task.batches_done > done or not (output / WEIGHTS).is_file():
            if first:
                write_figures(output, task.judge())
                save_encoder(output, task.encoder, settings.encoder)
            # What is kept on the way may be older than the end. Last, so that a stop before it does this part again.
            trainer.save_checkpoint(last, weights_only=False)
    if told := task.bad():
        print(f"left out: {told}", file=sys.stderr)
    return task


def make_task(settings: AlignSettings, pairs: Pairs, texts: NDArray[np.float32]) -> AlignmentTask:
    """The training with its weights, as the seed gives them, and what the recordings are to be aligned to.

    Args:
        settings: of the training.
        pairs: training recordings with their reports.
        texts: (pairs, size) the teacher's embeddings of those.
    """
    task = AlignmentTask(
        encoder=settings.encoder.model_dump(),
        objective=settings.objective.model_dump(),
        optimisation=settings.model_dump(include={"learning_rate", "weight_decay", "schedule", "warmup_steps"}),
        text_size=texts.shape[1],
        tasks=len(settings.tasks),
        seed=settings.seed,
        data=settings.model_dump(mode="json", include={"corpora", "teacher", "validation_share", "tasks"}),
    )
    answers = np.array([[question.answer(row) for question in settings.tasks] for row in pairs.clips.rows])
    order = np.arange(len(pairs))
    if settings.objective.shuffled == "once":
        order = np.random.default_rng(settings.seed).permutation(order)
    task.attach(
        torch.from_numpy(texts[order]),
        torch.from_numpy(text_ids(pairs.reports)[order]),
        torch.from_numpy(answers.reshape(len(pairs), len(settings.tasks)).astype(np.float32)),
    )
    return task


def need_train_people(settings: AlignSettings, splits: Mapping[Split, Pairs]) -> None:
    """Refuse a task of which the answer is known for too few training people.

    Raises:
        CorpusError: that is so, or nobody's answer is known in a split.
    """
    for question in settings.tasks:
        for split in ("train", "validation"):
            known = examples(question, splits[split].clips.rows, np.zeros((len(splits[split]), 1), np.float32))
            if split == "train":
                need_people(known)


def is_first_process() -> bool:
    """Whether this process writes what a training leaves, however the others were started."""
    return all(int(os.environ.get(name, "0")) == 0 for name in ("RANK", "LOCAL_RANK", "NODE_RANK"))


def open_pairs(settings: AlignSettings) -> tuple[dict[Split, Pairs], dict[Split, NDArray[np.float32]]]:
    """Recordings with their reports, and the teacher's embeddings of those, by split.

    Raises:
        UserError: recordings, reports or teacher are missing or wrong.
    """
    # First what tells a mistake at once: to decode the recordings, or to have a large teacher read, may take hours. So
    # the encoder is built, in a fraction of a second, though its rate alone is asked for: its weights may be no such.
    sample_rate_hz = build_encoder(settings.encoder).sample_rate_hz
    reports = read_reports(settings.reports)
    clips = open_clips(settings.recordings, sample_rate_hz, settings.corpora)
    for reason in clips.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    splits = pair(
        clips,
        reports,
        settings.reports,
        recordings=settings.recordings,
        validation_share=settings.validation_share,
        seed=settings.seed,
    )
    # All at once, so that the teacher is loaded once.
    every = [report for pairs in splits.values() for report in pairs.reports]
    vectors = embed_reports(every, settings.teacher, settings.teacher_cache)
    ends = np.cumsum([len(pairs) for pairs in splits.values()])
    return splits, dict(zip(splits, np.split(vectors, ends[:-1]), strict=True))


def make_demonstration(settings: AlignSettings) -> None:
    """Synthesise the corpus of the preset and write its reports, unless others were named."""
    if not is_demonstration(settings):
        return
    table = write_corpus(settings.recordings.parent, DEMO_PEOPLE, settings.seed)
    report(ReportSettings.model_validate({"recordings": table, "output": settings.reports, "seed": settings.seed}))


def batches_done(checkpoint: Path) -> int:
    """How many batches a checkpoint has behind it; 0 where there is none."""
    return int(read_resumable(checkpoint).get("batches_done", 0))


def write_figures(output: Path, last: dict[str, float]) -> None:
    """Join the logs of every start into one row a step, draw them, and keep the figures of the kept weights."""
    plot_training(join_logs(output, by="step"), output / "training.png")
    figures = {f"validation/{name}": value for name, value in last.items()}
    write_whole(output / "metrics.json", json.dumps(figures, indent=2) + "\n")
