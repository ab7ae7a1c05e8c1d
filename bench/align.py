"""How fast the alignment trains, beside the loop as it was published: `python -m bench.align`.

Both loops run in turns on one machine, with the same encoder, heads, teacher, reports, recordings (synthesised) and
batches. Both hear every batch twice, which is the part of the work that no loop can save. Ours is the real one: the
task, batches and trainer of `align.train` in the preset `acula`, timed between batches, without validation and the
checkpoint at the end. `bench.published` tells what the other does.

Our teacher reads each report once, before. That time is printed apart, and counted in a second ratio as its share of
one of 50 epochs. On a GPU it also prints how much of the card is used with a teacher of MedGemma's width, whose
embeddings are random numbers there.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import platform
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import lightning
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from align.config import AlignSettings
from align.encoders import build_encoder
from align.encoders.base import Encoder
from align.loop import AlignmentData, make_trainer
from align.module import AlignmentTask
from align.pairs import Pairs, read_reports, text_ids
from align.report import report
from align.reports.config import ReportSettings
from align.teacher import embed_reports
from align.training import open_pairs
from bench.daemon import processor
from bench.program import parser, run
from bench.published import MEDGEMMA_BLOCKS, MEDGEMMA_WIDTH, PublishedLoop, medgemma_s, write_bert_base
from bench.reports import COLUMNS, airborne, heart, lung
from bench.utilisation import flops_a_clip, peak_flops
from edge.errors import UserError

REPEATS = 5
WARMUP = 4
"""Batches before the clock starts."""
HELD_OUT = 4
"""Recordings of the other split, which must not be empty."""
EPOCHS = 50
"""Over which the teacher's time is shared out, as many as published."""
GPU_WORKERS = 4
"""Processes that make batches of either loop while a GPU computes, as many as published."""
EPOCH_CLIPS = 100_000
BERT_BASE = "bert-base"


class Clock(lightning.Callback):
    """Seconds from the end of batch `WARMUP` to that of the last."""

    def __init__(self) -> None:
        self.begun = self.ended = 0.0

    def on_train_batch_end(self, trainer: lightning.Trainer, *rest: Any) -> None:
        """Look at the clock when the device has finished; the batch's number comes last."""
        done = rest[-1] + 1
        if done in (WARMUP, trainer.num_training_batches):
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.begun, self.ended = self.ended, time.perf_counter()


class OurLoop:
    """The task of `align.train` and its trainer, on pairs whose reports are embedded."""

    def __init__(self, settings: AlignSettings, pairs: Pairs, text: NDArray[np.float32]) -> None:
        self.settings, self.pairs = settings, pairs
        self.task = AlignmentTask(
            encoder=settings.encoder.model_dump(),
            objective=settings.objective.model_dump(),
            optimisation=settings.model_dump(include={"learning_rate", "weight_decay", "schedule", "warmup_steps"}),
            text_size=text.shape[1],
            tasks=0,
            seed=settings.seed,
            data={},
        )
        ids = torch.from_numpy(text_ids(pairs.reports))
        self.task.attach(torch.from_numpy(text), ids, torch.zeros(len(pairs), 0))
        self.precision = ""

    def run(self) -> float:
        """Train on all recordings once; return the seconds from the end of batch `WARMUP` to that of the last."""
        torch.set_float32_matmul_precision("high")
        trainer = make_trainer(self.settings, len(self.pairs))
        clock = Clock()
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        if trainer.progress_bar_callback is not None:
            trainer.progress_bar_callback.disable()
        trainer.fit(self.task, datamodule=AlignmentData(self.pairs, self.task.encoder.clip_samples, self.settings, 0))
        self.precision = str(trainer.precision)
        return clock.ended - clock.begun


def write_corpus(settings: AlignSettings, recordings: int, samples: int, sample_rate_hz: int) -> None:
    """Write noise as recordings of one clip's length, their table and their reports."""
    folder = settings.recordings.parent
    rng, dice = np.random.default_rng(0), random.Random(0)  # noqa: S311 - metadata, not secrets
    with settings.recordings.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS.split(), restval="")
        writer.writeheader()
        for number in range(recordings + HELD_OUT):
            noise = 0.1 * rng.standard_normal(samples, dtype=np.float32)
            soundfile.write(folder / f"{number}.wav", noise, sample_rate_hz, subtype="PCM_16")
            split = "train" if number < recordings else "validation"
            described = (heart, lung, airborne)[number % 3](dice)
            writer.writerow({"path": f"{number}.wav", "group": f"person-{number}", "split": split} | described)
    report(ReportSettings.model_validate({"recordings": settings.recordings, "output": settings.reports}))


def read_once(settings: AlignSettings) -> tuple[float, float, int]:
    """Have our teacher read all reports; return the seconds to load it, those to read, and how many reports differ."""
    reports = tuple(read_reports(settings.reports).values())
    before = time.perf_counter()
    embed_reports(["One report."], settings.teacher, settings.teacher_cache)
    load_s = time.perf_counter() - before
    embed_reports(reports, settings.teacher, settings.teacher_cache)
    return load_s, max(0.0, time.perf_counter() - before - 2 * load_s), len(set(reports))


def settings_for(folder: Path, options: argparse.Namespace) -> AlignSettings:
    """The preset of the published training, with what the command line names."""
    return AlignSettings.model_validate(
        {
            "preset": "acula",
            "encoder": {"name": options.encoder},
            "teacher": {"model": options.teacher},
            "teacher_cache": folder / "teacher",
            "recordings": folder / "recordings.csv",
            "reports": folder / "reports.parquet",
            "output": folder / "output",
            "batch_size": options.batch,
            "epochs": 1,
            "workers": GPU_WORKERS if torch.cuda.is_available() else 0,
        }
    )


def compare(settings: AlignSettings, steps: int) -> None:
    """Measure both loops in turns and print what came out.

    Raises:
        UserError: no such encoder or teacher, or the encoder does not hear what the published loop gives.
    """
    encoder = build_encoder(settings.encoder)
    write_corpus(settings, (WARMUP + steps) * settings.batch_size, encoder.clip_samples, encoder.sample_rate_hz)
    load_s, read_s, different = read_once(settings)
    splits, texts = open_pairs(settings)
    pairs, text = splits["train"], texts["train"]
    ours = OurLoop(settings, pairs, text)
    published = PublishedLoop(
        encoder,
        settings.teacher,
        [row.path for row in pairs.clips.rows],
        list(pairs.reports),
        settings.batch_size,
        settings.workers,
    )
    theirs_s, ours_s = [], []
    for repeat in range(REPEATS):
        print(f"repeat {repeat + 1} of {REPEATS} ...", file=sys.stderr, flush=True)
        theirs_s.append(published.run(WARMUP))
        ours_s.append(ours.run())
    clips = steps * settings.batch_size
    shared_s = read_s / (len(pairs) + HELD_OUT) * clips / EPOCHS
    print(describe(settings, encoder, text.shape[1], steps))
    print(f"\n{'':<34}{'median':>9}{'lowest':>9}{'highest':>9}")
    rows = {
        "as published, clips a second": [clips / theirs for theirs in theirs_s],
        "ours, clips a second": [clips / ours for ours in ours_s],
        "ratio": [theirs / ours for theirs, ours in zip(theirs_s, ours_s, strict=True)],
        "ratio, reading reports included": [
            theirs / (ours + shared_s) for theirs, ours in zip(theirs_s, ours_s, strict=True)
        ],
    }
    for name, values in rows.items():
        print(f"{name:<34}{median(values):>9.1f}{min(values):>9.1f}{max(values):>9.1f}")
    print(f"\nprecision: float32 as published, {ours.precision} ours")
    print(
        f"our teacher, once before: {load_s:.1f} s to load, {read_s:.1f} s for {len(pairs) + HELD_OUT} reports "
        f"({different} different); a {EPOCHS}th of the latter is in the last ratio"
    )
    tell_parts(published, median(theirs_s) / steps, median(ours_s) / steps, settings)


def tell_parts(published: PublishedLoop, theirs_s: float, ours_s: float, settings: AlignSettings) -> None:
    """Print what a published batch spends its time on, and what a teacher of MedGemma's size would make of it."""
    items_s, teacher_s = published.parts()
    large_s = medgemma_s(settings.batch_size)
    print(
        f"a published batch takes {theirs_s:.3f} s; its decoding, mel and tokens alone {items_s:.3f} s"
        f"{' in one process' if settings.workers else ''}, its teacher {teacher_s:.3f} s\n"
        f"a teacher of MedGemma-4B's size would take about {large_s:.3g} s a batch (an estimate: one of "
        f"{MEDGEMMA_BLOCKS} blocks, with random weights); ratio then about "
        f"{(theirs_s - teacher_s + large_s) / ours_s:.0f}"
    )


def describe(settings: AlignSettings, encoder: Encoder, width: int, steps: int) -> str:
    """Which machine, and what runs on it."""
    cores = f"{processor()}, {len(os.sched_getaffinity(0))} cores, {torch.get_num_threads()} threads"
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return (
        f"{cores}, {card}, torch {torch.__version__}, Python {platform.python_version()}\n"
        f"{settings.encoder.name} ({parameters / 1e6:.1f} M parameters), teacher {Path(settings.teacher.model).name} "
        f"(width {width}), {REPEATS} repeats of {steps} batches of {settings.batch_size} clips of "
        f"{settings.encoder.clip_s:g} s"
    )


def use_of_card(settings: AlignSettings, steps: int) -> None:
    """Print how fast our loop is with embeddings of MedGemma's width, and how much of the card that uses."""
    if not torch.cuda.is_available():
        print("use of a GPU: skipped, there is none")
        return
    pairs = open_pairs(settings)[0]["train"]
    text = np.random.default_rng(0).standard_normal((len(pairs), MEDGEMMA_WIDTH), dtype=np.float32)
    ours = OurLoop(settings, pairs, text)
    clip_flops = flops_a_clip(ours.task, settings.batch_size, torch.device("cuda"))
    rate = median(steps * settings.batch_size / ours.run() for _ in range(REPEATS))
    peak = peak_flops(torch.cuda.get_device_name())
    rate_flops = rate * clip_flops
    share = (
        f", {rate_flops / peak:.1%} of {peak / 1e12:.0f} TFLOP/s" if peak else " (the card's peak is not known here)"
    )
    print(
        f"\nours with random embeddings of {MEDGEMMA_WIDTH} numbers in the teacher's place, {ours.precision}: "
        f"{rate:.0f} clips a second\n{clip_flops / 1e9:.2f} GFLOP a clip, {rate_flops / 1e12:.2f} TFLOP/s{share}\n"
        f"an epoch of {EPOCH_CLIPS} clips: {EPOCH_CLIPS / rate:.0f} s"
    )


def main() -> None:
    """Run the program."""
    flags = parser("align", __doc__)
    flags.add_argument("--encoder", default="scratch-conv", help="family, untrained (default: scratch-conv)")
    flags.add_argument("--batch", type=int, default=24, help="clips in a batch (default: 24, as published)")
    flags.add_argument("--steps", type=int, default=3, help="batches a repeat that are timed (default: 3)")
    flags.add_argument(
        "--teacher",
        default=BERT_BASE,
        help=f"a model's id, its folder, minilm, or {BERT_BASE} (the default: the size of small medical ones, random "
        "weights)",
    )
    run(flags, _measure)


def _measure(options: argparse.Namespace) -> None:
    if options.batch < 4 or options.steps < 2:
        raise UserError("--batch must be 4 or more, --steps 2 or more")
    # Forked workers would be warned about in the middle of the table.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    with tempfile.TemporaryDirectory(prefix="acula-bench-") as name:
        folder = Path(name)
        if options.teacher == BERT_BASE:
            options.teacher = str(write_bert_base(folder / BERT_BASE))
        settings = settings_for(folder, options)
        compare(settings, options.steps)
        use_of_card(settings, options.steps)


if __name__ == "__main__":
    main()
