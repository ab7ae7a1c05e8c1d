"""The step of an alignment on recordings of noise, in this process or in two, for tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from align.batches import Batch, BatchStream, TrainingClips
from align.clips import Clips
from align.config import ObjectiveSettings
from align.corpora import Recording
from align.encoders import EncoderSpec
from align.module import AlignmentTask

CLIPS, BATCH, TEXT_SIZE = 24, 12, 16
RATE = 2000


def make_task(encoder: str = "scratch-vit", **objective: Any) -> AlignmentTask:
    """A task over `CLIPS` recordings of noise with random reports; the same in every process."""
    torch.manual_seed(3)
    task = AlignmentTask(
        encoder=EncoderSpec.model_validate({"name": encoder, "sample_rate_hz": RATE, "clip_s": 1.0}).model_dump(),
        objective=ObjectiveSettings.model_validate(objective).model_dump(),
        optimisation={"learning_rate": 1e-3, "weight_decay": 0.0, "schedule": "cosine", "warmup_steps": 1},
        text_size=TEXT_SIZE,
        tasks=1,
        seed=0,
        data={},
    )
    answers = torch.arange(CLIPS).remainder(2).float()[:, None]
    task.attach(torch.randn(CLIPS, TEXT_SIZE), torch.arange(CLIPS), answers)
    return task


def noise_clips() -> Clips:
    """Recordings of noise, one of each person."""
    rng = np.random.default_rng(0)
    rows = [Recording(Path(f"{n}.wav"), "noise", f"p{n}", "train", "heart", "heart") for n in range(CLIPS)]
    samples = [rng.integers(-9000, 9000, 3 * RATE).astype(np.int16) for _ in rows]
    return Clips(rows, [row.path.name for row in rows], samples, [])


def batches(rank: int = 0, world: int = 1) -> list[Batch]:
    """The two batches of an epoch, or a process's part of them."""
    stream = BatchStream(CLIPS, BATCH // world, seed=0, first_step=0, steps=2, rank=rank, world=world)
    clips = TrainingClips(noise_clips(), RATE)
    return [Batch(*map(torch.stack, zip(*(clips[draw] for draw in draws), strict=True))) for draws in stream]


class Step(nn.Module):
    """What DistributedDataParallel wraps: the training step without augmentation, whose draws are a process's own."""

    def __init__(self, task: AlignmentTask) -> None:
        super().__init__()
        self.task = task
        task.encoder.augment = lambda features: features  # type: ignore[method-assign]

    def forward(self, batch: Batch) -> Tensor:
        """The loss."""
        return self.task.training_step(batch, 0)


def losses_and_gradients(rank: int = 0, world: int = 1, **objective: Any) -> dict[str, Tensor]:
    """Of both batches, summed."""
    task = make_task(**objective)
    step = Step(task)
    model: nn.Module = DistributedDataParallel(step, find_unused_parameters=True) if world > 1 else step
    found = {}
    for number, batch in enumerate(batches(rank, world)):
        loss = model(batch)
        loss.backward()
        found[f"loss {number}"] = loss.detach()
    return found | {name: value.grad for name, value in task.named_parameters() if value.grad is not None}


def _rank(rank: int, folder: Path, objectives: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    torch.save([losses_and_gradients(rank, 2, **objective) for objective in objectives], folder / f"{rank}.pt")
    dist.destroy_process_group()


def of_two_processes(folder: Path, objectives: list[dict[str, Any]]) -> list[list[dict[str, Tensor]]]:
    """What each of two processes finds, objective by objective."""
    torch.multiprocessing.spawn(_rank, args=(folder, objectives), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]
