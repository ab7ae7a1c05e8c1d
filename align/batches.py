"""Batches of a training: which recordings, which piece of each, in which order.

Everything is a function of (seed, step), so a training that was stopped anywhere goes on with the very batches that it
would have had, and so do several processes that share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from align.clips import Clips, crop


class Draw(NamedTuple):
    """One clip of a batch: which recording, and the seed of all that is random about it."""

    recording: int
    seed: int


class Batch(NamedTuple):
    """What a training step gets."""

    waveform: Tensor
    """(batch, samples) float32 in [-1, 1]."""
    recording: Tensor
    """(batch,) int64: the recording, and so its report."""
    seed: Tensor
    """(batch,) int64."""


class TrainingClips(Dataset[Batch]):
    """Pieces of recordings at random places; a recording shorter than a clip is heard in a circle."""

    def __init__(self, clips: Clips, clip_samples: int) -> None:
        self.clips, self.clip_samples = clips, clip_samples

    def __getitem__(self, draw: Draw) -> Batch:
        samples = self.clips.samples(draw.recording)
        # A recording of about a clip's length would begin at the same place every time; a circle has no beginning.
        room = len(samples) - self.clip_samples
        start = int(np.random.default_rng(draw.seed).integers(room + 1 if room > self.clip_samples else len(samples)))
        waveform = torch.from_numpy(crop(samples, self.clip_samples, start))
        return Batch(waveform, torch.tensor(draw.recording), torch.tensor(draw.seed))


class BatchStream(Sampler[list[Draw]]):
    """The batches of one process from a step on to the last one; every epoch has its own order and drops its rest."""

    def __init__(
        self, recordings: int, batch_size: int, *, seed: int, first_step: int, steps: int, rank: int = 0, world: int = 1
    ) -> None:
        """`batch_size` is that of one process; `steps` counts batches from the beginning of the training.

        Raises:
            ValueError: there are fewer recordings than a batch of all processes together takes.
        """
        self.recordings, self.batch_size, self.seed = recordings, batch_size, seed
        self.first_step, self.steps, self.rank, self.world = first_step, steps, rank, world
        self.steps_per_epoch = recordings // (batch_size * world)
        if self.steps_per_epoch == 0:
            raise ValueError(f"{recordings} recordings do not fill a batch of {batch_size * world}")

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Draw]]:
        begun = -1
        for step in range(self.first_step, self.steps):
            epoch, place = divmod(step, self.steps_per_epoch)
            if epoch != begun:
                order = np.random.default_rng([self.seed, epoch]).permutation(self.recordings)
                begun = epoch
            first = (place * self.world + self.rank) * self.batch_size
            yield [Draw(int(index), self._seed(epoch, int(index))) for index in order[first : first + self.batch_size]]

    def _seed(self, epoch: int, index: int) -> int:
        return int(np.random.SeedSequence([self.seed, epoch, index]).generate_state(1, np.uint32)[0])
