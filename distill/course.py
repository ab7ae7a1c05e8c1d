"""A whole course of teaching: recordings and teacher opened, views taught, the student trained, its heads fitted.

`distill.teach` is its program; the parts are in `lessons`, `teaching` and `finishing`. It trains in one process, on one
GPU if there is one.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from align.checkpointing import WholeCheckpointIO, epochs_done, read_resumable, refuse_other_weights
from align.clips import Clips, open_clips
from align.corpora import CorpusError
from align.corpora.recording import Split
from align.files import write_whole
from align.hardware import has_bfloat16
from align.pairs import divide
from align.probe import need_people
from align.runs import claim, join_logs, moving_average, telling_of_full_disk
from align.tasks import Examples, Task, examples
from distill.checkpoint import NAME, save_student
from distill.figures import plot_learning_curves
from distill.finishing import Pupils, finish, of_recordings, open_texts
from distill.heads import fit_head
from distill.lessons import Views, hear, learn
from distill.moments import Moments
from distill.student import StudentShape
from distill.teach_config import TeachSettings
from distill.teacher import open_teacher
from distill.teaching import Lesson, LessonPlan, TeachingTask, judge
from distill.windows import EpochSampler
from edge.settings import to_toml

PARTS: tuple[Split, ...] = ("train", "validation")

MAY_CHANGE = ("workers", "output")
"""Settings that may change between the stop and the resumption of a training."""

AVERAGED_SHARE = 0.05
"""The kept weights are a moving average over about this share of the training's steps."""


def teach(settings: TeachSettings) -> Path:
    """Teach, or resume, and return the path of the finished student.

    Raises:
        UserError: teacher, recordings or settings are missing or wrong, or the output holds another training.
    """
    output, last = settings.output, settings.output / "last.ckpt"
    claim(output, to_toml(settings), MAY_CHANGE)
    if epochs_done(last) >= settings.epochs and (output / NAME).is_file():
        return output / NAME
    teacher = open_teacher(settings.teacher)
    texts = open_texts(settings, teacher)
    clips = open_splits(settings)
    rate, length = settings.front_end.sample_rate_hz, round(settings.window_s * settings.front_end.sample_rate_hz)
    once = settings.views.model_copy(update={"count": 1})
    train = Views(clips["train"], settings.views, length=length, sample_rate_hz=rate, seed=settings.seed)
    held_out = Views(clips["validation"], once, length=length, sample_rate_hz=rate, seed=settings.seed)
    taught = Pupils(
        train,
        held_out,
        learn(train, teacher, workers=settings.workers),
        hear(train, settings.front_end, workers=settings.workers),
        learn(held_out, teacher, workers=settings.workers),
    )
    # Right before the weights are made, so that they depend on the seed alone.
    lightning.seed_everything(settings.seed, workers=True, verbose=False)
    task = make_task(settings, taught)
    with telling_of_full_disk(output):
        fit(task, taught, settings)
        student, figures = finish(task, taught, settings, teacher, texts)
        plot_learning_curves(join_logs(output, by="epoch"), output / "learning_curves.png")
        write_whole(output / "metrics.json", json.dumps(figures, indent=2) + "\n")
    # Last, so that a stop before it does this part again.
    save_student(output / NAME, student)
    return output / NAME


def open_splits(settings: TeachSettings) -> dict[Split, Clips]:
    """Training and validation recordings; validation people are held out of the training ones where nobody is yet.

    Raises:
        CorpusError: the table is wrong, a split is empty, or of too few people is the answer to a task known.
    """
    clips = open_clips(settings.recordings, settings.front_end.sample_rate_hz, settings.corpora)
    for reason in clips.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    places = divide(clips, settings.recordings, validation_share=settings.validation_share, seed=settings.seed)
    splits = {name: clips.keep(places[name]) for name in PARTS}
    if len(splits["train"]) < settings.batch_size:
        raise CorpusError(
            f"{settings.recordings}: {len(splits['train'])} training recordings do not fill a batch of "
            f"{settings.batch_size}; lower --batch_size or give more"
        )
    for event in settings.events:
        if not any(row.event == event for row in splits["train"].rows):
            raise CorpusError(f"{settings.recordings}: no training recording has the event {event}")
    for question in settings.tasks:
        for part in splits.values():
            asked = examples(question, part.rows, np.zeros((len(part), 1), dtype=np.float32))
            if part is splits["train"]:
                _need_people(question, asked)
    return splits


def _need_people(question: Task, asked: Examples) -> None:
    try:
        need_people(asked)
    except CorpusError as error:
        raise CorpusError(f"task {question.name}: {error}") from error


def shape_of(settings: TeachSettings) -> StudentShape:
    """The shape of the student while it learns, before labels made of text come to it."""
    return StudentShape(
        mel_bands=settings.front_end.mel_bands,
        labels=len(settings.events) + len(settings.tasks),
        width=settings.width,
        context_blocks=settings.context_blocks,
        embedding_size=settings.embedding_size,
        depth=settings.depth,
        form=settings.form,
        clip_labels=len(settings.tasks),
    )


def make_task(settings: TeachSettings, taught: Pupils) -> TeachingTask:
    """The training, with the teacher's heads in it."""
    tasks, size = settings.tasks, taught.lessons.teacher_size
    task = TeachingTask(
        shape=asdict(shape_of(settings)),
        front_end=settings.front_end.model_dump(),
        teacher_size=size,
        objective=settings.objective.model_dump(),
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        quantise_from=settings.epochs - settings.quantise_epochs,
    )
    mean = taught.lessons.mean()
    heads = [fit_head(of_recordings(question, taught.train.clips.rows, mean)) for question in tasks]
    weights = np.array([head.weight for head in heads]).reshape(len(heads), size)
    biases = np.array([head.bias for head in heads])
    task.attach(taught.lessons, torch.from_numpy(weights).float(), torch.from_numpy(biases).float())
    held_out, answers = taught.held_out.clips, torch.from_numpy(taught.held_out_lessons[0].astype(np.float32))
    events, length = settings.events, taught.train.length
    task.judge = lambda: judge(task, held_out, answers, events=events, tasks=tasks, window_samples=length)
    return task


def fit(task: TeachingTask, taught: Pupils, settings: TeachSettings) -> None:
    """Train, or go on, to the last epoch; the task then has the averaged weights.

    Raises:
        UserError: the weights to go on from are of another architecture.
    """
    last = settings.output / "last.ckpt"
    answers = [[question.answer(row) for question in settings.tasks] for row in taught.train.clips.rows]
    plan = LessonPlan(
        taught.train,
        taught.lessons,
        taught.heard,
        torch.tensor(answers, dtype=torch.float32).reshape(len(answers), len(settings.tasks)),
        Moments(taught.train.clips, settings.events, settings.front_end, taught.train.length),
        settings.batch_size,
        settings.seed,
    )
    done = epochs_done(last)
    if done >= settings.epochs:
        finished = read_resumable(last)
        refuse_other_weights(finished, task)
        task.load_state_dict(finished["state_dict"])
        return
    trainer = make_trainer(settings, settings.epochs * (plan.per_epoch // settings.batch_size))
    trainer.fit(
        task,
        loader(plan, settings, done),
        DataLoader(TensorDataset(torch.zeros(1)), batch_size=1),
        ckpt_path=last if last.is_file() else None,
        weights_only=True,
    )


def loader(plan: LessonPlan, settings: TeachSettings, epochs_before: int) -> DataLoader[Lesson]:
    """Batches of lessons for the epochs that follow `epochs_before` finished ones."""
    return DataLoader(
        plan,
        batch_size=settings.batch_size,
        sampler=EpochSampler(plan.per_epoch, epochs_before),
        num_workers=settings.workers,
        persistent_workers=settings.workers > 0,
    )


def make_trainer(settings: TeachSettings, steps: int) -> lightning.Trainer:
    """Lightning's trainer: a checkpoint after every epoch, of weights averaged over a share of all `steps`."""
    longest = 1.0 - 1.0 / max(1.0, AVERAGED_SHARE * steps)
    return lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator="auto",
        precision="bf16-mixed" if has_bfloat16() else "32-true",
        callbacks=[
            ModelCheckpoint(settings.output, "last", enable_version_counter=False),
            WeightAveraging(use_buffers=True, avg_fn=moving_average(longest)),
            TQDMProgressBar(refresh_rate=5),
        ],
        plugins=[WholeCheckpointIO()],
        logger=CSVLogger(settings.output, name="log"),
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        enable_model_summary=False,
        default_root_dir=settings.output,
    )
