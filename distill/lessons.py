"""What the teacher says of every view of every recording: asked once, kept on disk, read from a memory map.

One file a view number, (recordings, teacher_size) float16, written whole; a stopped run goes on with the first that is
missing, and a run that finds all of them never runs the teacher. The folder's name is a hash of all that an answer
depends on, so that another teacher's answers are never taken for this one's. Reference: Fang et al. and the CED
recipe, arXiv 2308.11957, which keeps a teacher's answer with the seed of the augmentation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from align.channel import Samples
from align.clips import Clips
from align.files import write_whole, writing_whole
from distill.teach_config import ViewSettings
from distill.teacher import Teacher
from distill.views import RECIPE, draws, make_view, start_of
from edge.errors import UserError

BATCH_SIZE = 64
ORIGIN = "origin.json"


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


class Lessons:
    """The teacher's answers, (views, recordings, teacher_size), not in memory until they are asked for."""

    def __init__(self, files: list[Path]) -> None:
        """Map the files of `learn`.

        Raises:
            UserError: one is damaged.
        """
        self._maps = [_mapped(file) for file in files]

    def __getitem__(self, view: int) -> NDArray[np.float16]:
        """(recordings, teacher_size) of a view number, mapped."""
        return self._maps[view]

    @property
    def views(self) -> int:
        """How many there are of each recording."""
        return len(self._maps)

    @property
    def teacher_size(self) -> int:
        """Numbers of a teacher's embedding."""
        return int(self._maps[0].shape[1])

    def mean(self) -> NDArray[np.float32]:
        """(recordings, teacher_size): over the views of each recording."""
        total = np.zeros(self._maps[0].shape, dtype=np.float64)
        for view in self._maps:
            total += view
        return np.asarray(total / self.views, dtype=np.float32)

    def spread(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and standard deviation (teacher_size,) over all views of all recordings."""
        count = self.views * len(self._maps[0])
        wide = [np.asarray(view, dtype=np.float64) for view in self._maps]
        mean = sum(view.sum(axis=0) for view in wide) / count
        variance = sum(np.square(view - mean).sum(axis=0) for view in wide) / count
        return np.asarray(mean, dtype=np.float32), np.asarray(np.sqrt(variance), dtype=np.float32)


def _mapped(file: Path) -> NDArray[np.float16]:
    try:
        return np.asanyarray(np.load(file, mmap_mode="r", allow_pickle=False), dtype=np.float16)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: damaged; delete it and run again: the teacher is asked anew") from error


def learn(views: Views, teacher: Teacher, *, workers: int = 0) -> Lessons:
    """Ask the teacher about every view that it was not asked about yet, with a progress bar.

    Raises:
        UserError: the cache cannot be written, a file of it is damaged, or an answer is not finite.
    """
    origin = views.origin() | {"teacher_sha256": teacher.sha256}
    text = json.dumps(origin, indent=2, sort_keys=True)
    folder = views.settings.cache / hashlib.sha256(text.encode()).hexdigest()[:32]
    files = [folder / f"view-{number:05d}.npy" for number in range(views.settings.count)]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if missing:
            write_whole(folder / ORIGIN, text)
        for number, answers in zip(missing, _ask(views, teacher, missing, workers), strict=True):
            if not np.isfinite(answers).all():
                raise UserError(f"teacher {teacher.name}: an embedding is not finite; look at its training")
            with writing_whole(files[number]) as stream:
                np.save(stream, answers)
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise UserError(f"{folder}: {why}; free some space or name another --views.cache") from error
    return Lessons(files)


def _ask(views: Views, teacher: Teacher, missing: list[int], workers: int) -> Iterator[NDArray[np.float16]]:
    """Answers (recordings, teacher_size) of one view number after the other."""
    recordings = len(views.clips)
    with tqdm(total=len(missing) * recordings, desc="teacher", unit="view", disable=not missing) as bar:
        for number in missing:
            first = number * recordings
            loader = DataLoader(
                views,
                batch_size=BATCH_SIZE,
                sampler=range(first, first + recordings),
                num_workers=workers,
                collate_fn=list,
                worker_init_fn=_one_thread,
            )
            rows = []
            for batch in loader:
                rows.append(teacher.embed(batch, views.sample_rate_hz).astype(np.float16))
                bar.update(len(batch))
            yield np.concatenate(rows)


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)
