"""What the teacher says of every view of every recording, and what the student hears of it: made once and kept.

A run that finds all answers never runs the teacher (`distill.kept` has the files). Reference: the CED recipe, arXiv
2308.11957, which keeps a teacher's answer with the seed of the augmentation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from align.channel import Samples
from align.clips import Clips
from distill.frontend import LogMel
from distill.kept import Kept, keep
from distill.pool import one_thread
from distill.teach_config import ViewSettings
from distill.teacher import Teacher
from distill.views import RECIPE, draws, make_view, start_of
from edge.manifest import FrontEnd

BATCH_SIZE = 64


class Views(Dataset[Samples]):
    """All views of some recordings; item `number * recordings + recording`."""

    def __init__(self, clips: Clips, settings: ViewSettings, *, length: int, sample_rate_hz: int, seed: int) -> None:
        self.clips, self.settings = clips, settings
        self.length, self.sample_rate_hz, self.seed = length, sample_rate_hz, seed

    def __len__(self) -> int:
        return len(self.clips) * self.settings.count

    def __getitem__(self, index: int) -> Samples:
        number, recording = divmod(index, len(self.clips))
        return self.view(recording, number)

    def view(self, recording: int, number: int) -> Samples:
        """View `number` of a recording, (length,)."""
        return make_view(
            self.clips.samples(recording),
            self.clips.keys[recording],
            number,
            length=self.length,
            sample_rate_hz=self.sample_rate_hz,
            settings=self.settings,
            seed=self.seed,
        )

    def start(self, recording: int, number: int) -> int:
        """The sample of the recording at which that view begins."""
        rng = draws(self.clips.keys[recording], number, self.seed)
        return start_of(len(self.clips.samples(recording)), self.length, rng)

    def origin(self) -> dict[str, Any]:
        """All that the views depend on but their number."""
        heard = hashlib.sha256()
        for index, key in enumerate(self.clips.keys):
            heard.update(f"{key} {len(self.clips.samples(index))} ".encode())
            heard.update(np.ascontiguousarray(self.clips.samples(index)).tobytes())
        how = self.settings.model_dump(mode="json", exclude={"count", "cache"})
        numbers = {"length": self.length, "sample_rate_hz": self.sample_rate_hz, "seed": self.seed, "recipe": RECIPE}
        return {"recordings_sha256": heard.hexdigest(), "views": how, **numbers}


class Lessons(Kept):
    """The teacher's answers, (views, recordings, teacher_size)."""

    @property
    def teacher_size(self) -> int:
        """Numbers of a teacher's embedding."""
        return int(self[0].shape[1])

    def mean(self) -> NDArray[np.float32]:
        """(recordings, teacher_size): over the views of each recording."""
        total = np.zeros(self[0].shape, dtype=np.float64)
        for view in range(self.views):
            total += self[view]
        return np.asarray(total / self.views, dtype=np.float32)

    def spread(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation (teacher_size,) over all views of all recordings."""
        count = self.views * len(self[0])
        mean = sum(self[view].sum(axis=0, dtype=np.float64) for view in range(self.views)) / count
        variance = sum(np.square(self[view] - mean).sum(axis=0) for view in range(self.views)) / count
        return np.asarray(mean, dtype=np.float32), np.asarray(np.sqrt(variance), dtype=np.float32)


def learn(views: Views, teacher: Teacher, *, workers: int = 0) -> Lessons:
    """Ask the teacher about every view that it was not asked about yet, with a progress bar.

    Raises:
        UserError: the cache cannot be written, a file of it is damaged, or an answer is not finite.
    """

    def answers(batch: list[Samples]) -> NDArray[np.float32]:
        return teacher.embed(batch, views.sample_rate_hz)

    origin = views.origin() | {"teacher_sha256": teacher.sha256}
    make = partial(_each, views, answers, "teacher", workers)
    return Lessons(keep(views.settings.cache, origin, views.settings.count, make))


def hear(views: Views, front_end: FrontEnd, *, workers: int = 0) -> Kept:
    """Log-mels (views, recordings, mel_bands, frames) of what the student hears, made where they are missing.

    To make a view and its log-mel costs a small student more than to learn from it, and it learns from each more than
    once.

    Raises:
        UserError: the cache cannot be written, or a file of it is damaged.
    """
    log_mel = LogMel(front_end)

    @torch.inference_mode()
    def heard(batch: list[Samples]) -> NDArray[np.float32]:
        return np.asarray(log_mel(torch.from_numpy(np.stack(batch))).numpy())

    origin = views.origin() | {"front_end": front_end.model_dump()}
    make = partial(_each, views, heard, "views", workers)
    return Kept(keep(views.settings.cache, origin, views.settings.count, make))


def _each(
    views: Views,
    of_batch: Callable[[list[Samples]], NDArray[np.float32]],
    words: str,
    workers: int,
    numbers: list[int],
) -> Iterator[NDArray[np.float16]]:
    """Arrays (recordings, ...) of one view number after the other, with a progress bar."""
    recordings = len(views.clips)
    with tqdm(total=len(numbers) * recordings, desc=words, unit="view") as bar:
        for number in numbers:
            first = number * recordings
            loader = DataLoader(
                views,
                batch_size=BATCH_SIZE,
                sampler=range(first, first + recordings),
                num_workers=workers,
                collate_fn=list,
                worker_init_fn=one_thread,
            )
            rows = []
            for batch in loader:
                rows.append(of_batch(batch).astype(np.float16))
                bar.update(len(batch))
            yield np.concatenate(rows)
