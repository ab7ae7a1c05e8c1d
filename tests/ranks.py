"""Objectives in several real processes, each with a part of the batch, for tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from align.distributed import gather
from align.objectives import CKALoss, InfoNCE, Pointwise, ReleasedLoss, SigLIP, VarianceCovariance

BATCHES, BATCH, SOUND_SIZE, SIZE = 2, 12, 7, 5

Results = dict[str, dict[str, Tensor]]


class Weighted(nn.Module):
    """A loss that treats every row in a way of its own, so that rows in another order would be seen."""

    def forward(self, audio: Tensor) -> Tensor:
        """Scalar loss of (batch, d)."""
        audio = gather(audio)
        return (torch.arange(1.0, len(audio) + 1)[:, None] * audio.tanh()).mean()


OBJECTIVES: dict[str, Callable[[], nn.Module]] = {
    "biased": lambda: CKALoss(debiased=False),
    "debiased": CKALoss,
    "queue": lambda: CKALoss(queue=9, audio_size=SIZE, text_size=SIZE),
    "info_nce": InfoNCE,
    "siglip": SigLIP,
    "pointwise": Pointwise,
    "released": ReleasedLoss,
    "variance_covariance": VarianceCovariance,
    "weighted": Weighted,
}


class Alignment(nn.Module):
    """A linear encoder and an objective: what DistributedDataParallel wraps in a training."""

    def __init__(self, objective: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Linear(SOUND_SIZE, SIZE)
        self.objective = objective

    def forward(self, sound: Tensor, text: Tensor, ids: Tensor) -> Tensor:
        """Scalar loss of a batch."""
        audio = self.encoder(sound)
        if isinstance(self.objective, InfoNCE | SigLIP):
            sides = (audio, text, ids)
        else:
            sides = (audio,) if isinstance(self.objective, VarianceCovariance | Weighted) else (audio, text)
        loss: Tensor = self.objective(*sides)
        return loss


def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Sound (batch, d), text (batch, d) and ids (batch,) of each step; some ids are equal, also across processes."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(BATCHES):
        sound = torch.randn(BATCH, SOUND_SIZE, generator=generator)
        ids = torch.arange(BATCH) % 7
        yield sound, torch.randn(7, SIZE, generator=generator)[ids], ids


def results(rows: slice, wrap: bool) -> Results:
    """Loss of every step, and the gradient of all, for each objective on these rows of every batch."""
    found: Results = {}
    for name, build in OBJECTIVES.items():
        torch.manual_seed(1)
        alignment = Alignment(build())
        model = DistributedDataParallel(alignment) if wrap else alignment
        found[name] = {}
        for step, batch in enumerate(batches()):
            loss = model(*(part[rows] for part in batch))
            loss.backward()
            found[name][f"loss {step}"] = loss.detach()
        for parameter, value in alignment.named_parameters():
            assert value.grad is not None, parameter
            found[name][parameter] = value.grad
    return found


def _rank(rank: int, splits: tuple[tuple[int, int], ...], folder: Path) -> None:
    torch.set_num_threads(1)
    # Without it gloo looks up the machine's name, which not every network answers.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    rows = [slice(0, lengths[0]) if rank == 0 else slice(lengths[0], BATCH) for lengths in splits]
    torch.save([results(own, wrap=True) for own in rows], folder / f"{rank}.pt")
    dist.destroy_process_group()


def results_of_two(splits: tuple[tuple[int, int], ...], folder: Path) -> tuple[list[Results], list[Results]]:
    """What each of two processes finds, for every split of the batches between them."""
    torch.multiprocessing.spawn(_rank, args=(splits, folder), nprocs=2)
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    return first, second
