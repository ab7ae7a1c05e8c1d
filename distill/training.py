"""A whole training on labelled recordings: scenes composed, the student trained on windows cut from them.

`distill.train` is its program; the scenes are in `distill.data` and `distill.pool`, the step in `distill.module`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from align import channel
from align.checkpointing import WholeCheckpointIO, epochs_done
from align.corpora import CorpusError, Recording, hold_out, read_table
from align.files import write_whole
from align.hardware import has_bfloat16
from align.runs import claim, join_logs, moving_average, telling_of_full_disk
from distill import data, scenes, targets
from distill.config import TrainSettings
from distill.data import SceneMaker, load_clips
from distill.figures import plot_learning_curves
from distill.marking import mark, open_marker
from distill.module import StudentTask
from distill.origins import corpora_of
from distill.pool import ScenePool, compose, one_thread
from distill.student import StudentShape
from distill.windows import EpochSampler, WindowDataset
from edge.bundle import FrontEnd
from edge.settings import to_toml

BATCH_SIZE = 64

MAY_CHANGE = ("workers", "recordings", "output")
"""Settings that may change between the stop and the resumption of a training."""

AVERAGE_DECAY = 0.998
"""The weights that are validated and kept are a moving average over about the last 500 steps."""


def select(settings: TrainSettings) -> list[Recording]:
    """The airborne recordings to train and validate on, validation held out by group.

    Raises:
        CorpusError: a corpus to exclude is not there, or a label has no training recording.
    """
    rows = [row for row in read_table(settings.recordings) if row.modality == "airborne"]
    unknown = set(settings.exclude_corpora) - {row.corpus for row in rows}
    if unknown:
        raise CorpusError(f"{settings.recordings}: no corpus {', '.join(sorted(unknown))} to exclude")
    rows = [row for row in rows if row.split != "test" and row.corpus not in settings.exclude_corpora]
    rows = hold_out(rows, settings.validation_share, settings.seed)
    for label in settings.labels:
        for split in ("train", "validation"):
            if not any(row.event == label and row.split == split for row in rows):
                raise CorpusError(f"{settings.recordings}: no {split} recording has the event {label}")
    return rows


def train(settings: TrainSettings) -> Path:
    """Train, or resume, and return the path of the last checkpoint.

    Raises:
        UserError: the output folder cannot be written, or holds a training with other settings.
        CorpusError: as `select`.
    """
    rows = select(settings)
    output, last = settings.output, settings.output / "last.ckpt"
    claim(output, to_toml(settings), MAY_CHANGE)
    if epochs_done(last) >= settings.epochs:
        shutil.rmtree(output / "scenes", ignore_errors=True)
        return last
    front_end = FrontEnd()
    held_out: dict[str, Any] = {
        "seed": settings.seed,
        "validation_share": settings.validation_share,
        "exclude_corpora": list(settings.exclude_corpora),
    }
    if settings.marks_from:
        rows = mark(rows, open_marker(settings.marks_from, held_out, settings.labels))
    clips = {
        split: load_clips([row for row in rows if row.split == split], front_end.sample_rate_hz, settings.labels)
        for split in ("train", "validation")
    }
    pool = compose(
        output / "scenes",
        SceneMaker(clips["train"], front_end.sample_rate_hz, len(settings.labels)),
        front_end,
        count=settings.scenes,
        seed=settings.seed,
        workers=settings.workers,
        origin=_origin(settings, rows),
    )
    lightning.seed_everything(settings.seed, workers=True)
    # More threads than cores wait for each other: half the speed on a machine with two. The worker that cuts windows
    # needs too little of one to count.
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    task = make_task(settings, front_end, held_out | {"corpora": corpora_of(rows)})
    task.validation_clips = clips["validation"]
    trainer = make_trainer(settings)
    with telling_of_full_disk(output):
        trainer.fit(
            task,
            loader(pool, front_end, settings, epochs_done(last)),
            DataLoader(TensorDataset(torch.zeros(1)), batch_size=1),
            ckpt_path=last if last.is_file() else None,
            weights_only=True,
        )
        _write_figures(output, trainer)
    shutil.rmtree(output / "scenes", ignore_errors=True)
    return last


def make_task(settings: TrainSettings, front_end: FrontEnd, learnt_from: dict[str, Any]) -> StudentTask:
    """The training's student and losses; `learnt_from` is kept with it: recordings, licences, what was held out."""
    shape = StudentShape(
        mel_bands=front_end.mel_bands,
        labels=len(settings.labels),
        width=settings.width,
        context_blocks=settings.context_blocks,
        depth=settings.depth,
    )
    return StudentTask(
        shape=asdict(shape),
        labels=settings.labels,
        front_end=front_end.model_dump(),
        learning_rate=settings.learning_rate,
        window_s=settings.window_s,
        data=learnt_from,
        quantise_from=settings.epochs - settings.quantise_epochs if settings.quantise_epochs else None,
    )


def make_trainer(settings: TrainSettings) -> lightning.Trainer:
    """Lightning's trainer: a checkpoint after every epoch, of averaged weights."""
    # The last weights ship, not those of the epoch with the best figures: they are an average at a learning rate that
    # has come to rest, and to choose among epochs by nine marked and ten breath recordings is to choose noise.
    every_epoch = ModelCheckpoint(settings.output, "last", enable_version_counter=False)
    average = WeightAveraging(use_buffers=True, avg_fn=moving_average(AVERAGE_DECAY))
    return lightning.Trainer(
        max_epochs=settings.epochs,
        accelerator="auto",
        precision="bf16-mixed" if has_bfloat16() else "32-true",
        callbacks=[every_epoch, average, TQDMProgressBar(refresh_rate=5)],
        plugins=[WholeCheckpointIO()],
        logger=CSVLogger(settings.output, name="log"),
        gradient_clip_val=1.0,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        default_root_dir=settings.output,
    )


def _origin(settings: TrainSettings, rows: list[Recording]) -> dict[str, Any]:
    """All that the scenes depend on: the recordings to compose them of, what is known of those, and how it is done."""
    table = settings.recordings.parent
    known = [
        f"{os.path.relpath(row.path, table)} {row.path.stat().st_size} {row.corpus} {row.event} {row.times_s}"
        for row in rows
        if row.split == "train"
    ]
    recipe = hashlib.sha256()
    for module in (channel, data, scenes, targets):
        recipe.update(inspect.getsource(module).encode())
    return {"labels": settings.labels, "recordings": known, "recipe_sha256": recipe.hexdigest()}


def loader(
    pool: ScenePool, front_end: FrontEnd, settings: TrainSettings, epochs_before: int
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Batches of windows for the epochs that follow `epochs_before` finished ones."""
    return DataLoader(
        WindowDataset(pool, front_end, settings.window_s, settings.seed),
        batch_size=BATCH_SIZE,
        sampler=EpochSampler(settings.windows_per_epoch, epochs_before),
        num_workers=min(1, settings.workers),
        worker_init_fn=one_thread,
        persistent_workers=settings.workers > 0,
    )


def _write_figures(output: Path, trainer: lightning.Trainer) -> None:
    """Join the logs of every start into one row an epoch, draw them, and keep the last epoch's figures."""
    plot_learning_curves(join_logs(output, by="epoch"), output / "learning_curves.png")
    figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("validation/")}
    figures |= {"epochs": trainer.current_epoch, "steps": trainer.global_step}
    write_whole(output / "metrics.json", json.dumps(figures, indent=2) + "\n")
