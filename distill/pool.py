"""Scenes composed once and kept on disk as log-mel, so that a training can draw windows from them many times.

To compose a scene costs more than to train on it. A front-end frame depends on its own samples alone, so frames cut out
of a scene are the log-mel of the same piece of its sound. Shards are written aside and renamed: a stopped training
finds those that were finished. It neither composes (`distill.data`) nor cuts windows (`distill.windows`).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from align.files import write_whole, writing_whole
from distill.data import SceneMaker
from distill.frontend import LogMel
from distill.targets import Targets
from edge.bundle import FrontEnd
from edge.errors import UserError

SCENES_PER_SHARD = 128
ORIGIN = "origin.json"


class ScenePool:
    """Scenes on disk, opened read-only: a sequence of (log-mel (frames, mel_bands) float16, targets (hops, labels))."""

    def __init__(self, folder: Path, count: int) -> None:
        """Open the `count` scenes of a pool that `compose` has filled."""
        shards = range(-(-count // SCENES_PER_SHARD))
        self._log_mels = [np.load(_file(folder, "log_mel", shard), mmap_mode="r") for shard in shards]
        self._targets = [np.load(_file(folder, "targets", shard), mmap_mode="r") for shard in shards]
        self._folder, self._count = folder, count

    def __reduce__(self) -> tuple[type[ScenePool], tuple[Path, int]]:
        """A process that is not forked opens the files itself, in place of being sent gigabytes."""
        return ScenePool, (self._folder, self._count)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> tuple[NDArray[np.float16], Targets]:
        """The scene at `index`, not yet read from disk."""
        if not 0 <= index < self._count:
            raise IndexError(f"scene {index} of {self._count}")
        shard, place = divmod(index, SCENES_PER_SHARD)
        return self._log_mels[shard][place], self._targets[shard][place]


def compose(
    folder: Path,
    maker: SceneMaker,
    front_end: FrontEnd,
    *,
    count: int,
    seed: int,
    workers: int,
    origin: Mapping[str, Any],
) -> ScenePool:
    """Fill `folder` with `count` scenes, or find them there, and open them.

    Args:
        folder: of the pool. What another origin left in it is removed.
        maker: draws the scenes; scene `i` is a function of (seed, i).
        front_end: of the log-mel.
        count: scenes.
        seed: of the scenes.
        workers: processes that compose beside this one; 0 composes in this one.
        origin: all that the scenes depend on, as JSON values. Scenes of another origin are not used.

    Raises:
        UserError: the folder cannot be written, for want of space or of permission, or holds something else.
    """
    try:
        _claim(folder, dict(origin) | {"count": count, "seed": seed, "front_end": front_end.model_dump()})
        shards = [range(first, min(first + SCENES_PER_SHARD, count)) for first in range(0, count, SCENES_PER_SHARD)]
        missing = [scenes for scenes in shards if not _file(folder, "targets", _number(scenes)).is_file()]
        work = _Shards(folder, maker, front_end, seed, missing)
        loader = DataLoader(work, batch_size=None, num_workers=min(workers, len(missing)), worker_init_fn=one_thread)
        found = count - sum(map(len, missing))
        with tqdm(total=count, desc="compose", unit="scene", initial=found) as bar:
            for scenes, failure in zip(missing, loader, strict=True):
                if failure:
                    raise _unwritable(folder, failure)
                bar.update(len(scenes))
    except OSError as error:
        raise _unwritable(folder, str(error.strerror or error)) from error
    return ScenePool(folder, count)


def one_thread(_worker: int) -> None:
    """Keep a worker process to one core."""
    torch.set_num_threads(1)


class _Shards(Dataset[str]):
    """Composes and writes a shard of scenes; the item is why it could not be written, or nothing."""

    def __init__(self, folder: Path, maker: SceneMaker, front_end: FrontEnd, seed: int, shards: list[range]) -> None:
        self.folder, self.maker, self.seed, self.shards = folder, maker, seed, shards
        self.log_mel = LogMel(front_end)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> str:
        numbers = self.shards[index]
        shard = _number(numbers)
        scenes = [self.maker.scene(np.random.default_rng([self.seed, number])) for number in numbers]
        with torch.inference_mode():
            log_mels = [self.log_mel(torch.from_numpy(scene.samples[None]))[0].T.numpy() for scene in scenes]
        try:
            # The targets last: a shard counts as finished by them.
            stacked = np.stack(log_mels).astype(np.float16)
            with writing_whole(_file(self.folder, "log_mel", shard)) as stream:
                np.save(stream, stacked)
            targets = np.stack([scene.targets for scene in scenes])
            with writing_whole(_file(self.folder, "targets", shard)) as stream:
                np.save(stream, targets)
        except OSError as error:
            # An exception would come out of a worker process as a traceback within another.
            return str(error.strerror or error)
        return ""


def _unwritable(folder: Path, why: str) -> UserError:
    return UserError(f"{folder}: cannot be written ({why}); free some space or name another --output")


def _claim(folder: Path, origin: dict[str, Any]) -> None:
    """Make the folder, emptied of scenes of another origin.

    Raises:
        UserError: it holds something else than scenes.
    """
    note = folder / ORIGIN
    text = json.dumps(origin, indent=2, sort_keys=True)
    if note.is_file():
        if note.read_text(encoding="utf-8") == text:
            return
        shutil.rmtree(folder)
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder}: holds something else than scenes; name another --output")
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(note, text)


def _number(scenes: range) -> int:
    """The number of the shard that holds these scenes."""
    return scenes[0] // SCENES_PER_SHARD


def _file(folder: Path, name: str, shard: int) -> Path:
    return folder / f"{name}-{shard:05d}.npy"
