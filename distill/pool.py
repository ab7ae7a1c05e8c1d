"""Scenes composed once and kept on disk as log-mel, so that a training can draw windows from them many times.

To compose a scene costs more than to train on it. A front-end frame depends on its own samples alone, so frames cut out
of a scene are the log-mel of the same piece of its sound. Shards are written aside and renamed: a stopped training
finds those that were finished. It neither composes (`distill.data`) nor cuts windows (`distill.windows`).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from distill.data import SceneMaker
from distill.frontend import LogMel
from distill.targets import Targets
from edge.bundle import FrontEnd
from edge.errors import UserError

SCENES_PER_SHARD = 128


class ScenePool:
    """Scenes on disk, opened read-only: a sequence of (log-mel (frames, mel_bands) float16, targets (hops, labels))."""

    def __init__(self, folder: Path, count: int) -> None:
        """Open the first `count` scenes of a pool that `compose` has filled."""
        shards = range(-(-count // SCENES_PER_SHARD))
        self._log_mels = [np.load(_file(folder, "log_mel", shard), mmap_mode="r") for shard in shards]
        self._targets = [np.load(_file(folder, "targets", shard), mmap_mode="r") for shard in shards]
        self._count = count

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
        UserError: the folder cannot be written, for want of space or of permission.
    """
    try:
        _claim(folder, dict(origin) | {"seed": seed, "front_end": front_end.model_dump()})
        shards = range(-(-count // SCENES_PER_SHARD))
        missing = [shard for shard in shards if not _file(folder, "targets", shard).is_file()]
        work = _Shards(folder, maker, front_end, seed, missing)
        loader = DataLoader(work, batch_size=None, num_workers=min(workers, len(missing)))
        with tqdm(
            total=count, desc="compose", unit="scene", initial=(len(shards) - len(missing)) * SCENES_PER_SHARD
        ) as bar:
            for failure in loader:
                if failure:
                    raise _unwritable(folder, failure)
                bar.update(min(SCENES_PER_SHARD, bar.total - bar.n))
    except OSError as error:
        raise _unwritable(folder, error.strerror) from error
    return ScenePool(folder, count)


class _Shards(Dataset[str]):
    """Composes and writes the shard at an index; the item is why it could not be written, or nothing."""

    def __init__(self, folder: Path, maker: SceneMaker, front_end: FrontEnd, seed: int, shards: list[int]) -> None:
        self.folder, self.maker, self.seed, self.shards = folder, maker, seed, shards
        self.log_mel = LogMel(front_end)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> str:
        torch.set_num_threads(1)
        shard = self.shards[index]
        first = shard * SCENES_PER_SHARD
        scenes = [self.maker.scene(np.random.default_rng([self.seed, first + i])) for i in range(SCENES_PER_SHARD)]
        with torch.inference_mode():
            log_mels = [self.log_mel(torch.from_numpy(scene.samples[None]))[0].T.numpy() for scene in scenes]
        try:
            # The targets last: a shard counts as finished by them.
            _write(_file(self.folder, "log_mel", shard), np.stack(log_mels).astype(np.float16))
            _write(_file(self.folder, "targets", shard), np.stack([scene.targets for scene in scenes]))
        except OSError as error:
            # An exception would come out of a worker process as a traceback within another.
            return str(error.strerror)
        return ""


def _unwritable(folder: Path, why: str | None) -> UserError:
    return UserError(f"{folder}: cannot be written ({why}); free some space or name another --output")


def _claim(folder: Path, origin: dict[str, Any]) -> None:
    """Make the folder, emptied of scenes of another origin."""
    note = folder / "origin.json"
    text = json.dumps(origin, indent=2, sort_keys=True)
    if folder.is_dir() and not (note.is_file() and note.read_text() == text):
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(text)


def _write(path: Path, array: NDArray[Any]) -> None:
    aside = path.with_suffix(".part")
    with aside.open("wb") as stream:
        np.save(stream, array)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(path)


def _file(folder: Path, name: str, shard: int) -> Path:
    return folder / f"{name}-{shard:05d}.npy"
