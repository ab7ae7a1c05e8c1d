"""Lightning's part of an alignment: its trainer, and the batches that it is handed. `align.module` has the step."""

from __future__ import annotations

from typing import Literal

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch.utils.data import DataLoader, TensorDataset

from align.batches import BatchStream, TrainingClips
from align.checkpointing import WholeCheckpointIO
from align.config import AlignSettings
from align.hardware import has_bfloat16
from align.pairs import Pairs
from align.runs import moving_average
from edge.errors import UserError

Precision = Literal["32-true", "bf16-mixed"]

AVERAGED_SHARE = 0.05
"""The kept weights are a moving average over about this share of the training's steps."""


class AlignmentData(lightning.LightningDataModule):
    """Hands Lightning the batches that are still to come."""

    def __init__(self, pairs: Pairs, clip_samples: int, settings: AlignSettings, batches_done: int) -> None:
        super().__init__()
        self.pairs, self.clip_samples = pairs, clip_samples
        self.settings, self.batches_done = settings, batches_done

    def train_dataloader(self) -> DataLoader[object]:
        """Batches of this process."""
        trainer = self.trainer
        assert trainer is not None  # noqa: S101 - Lightning sets it before it asks
        stream = BatchStream(
            len(self.pairs),
            self.settings.batch_size,
            seed=self.settings.seed,
            first_step=self.batches_done,
            steps=total_batches(self.settings, len(self.pairs), trainer.world_size),
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        return DataLoader(
            TrainingClips(self.pairs.clips, self.clip_samples),
            batch_sampler=stream,
            num_workers=self.settings.workers,
            persistent_workers=self.settings.workers > 0,
        )

    def val_dataloader(self) -> DataLoader[object]:
        """One batch that only tells Lightning that there is something to validate."""
        return DataLoader(TensorDataset(torch.zeros(1)), batch_size=1)


def total_batches(settings: AlignSettings, recordings: int, world: int) -> int:
    """Batches of the whole training.

    Raises:
        UserError: there are fewer training recordings than the processes take at once.
    """
    together = settings.batch_size * world
    if recordings < together:
        raise UserError(
            f"{recordings} training recordings do not fill a batch of {together}; lower --batch_size or give more"
        )
    return settings.epochs * (recordings // together)


def make_trainer(settings: AlignSettings, recordings: int) -> lightning.Trainer:
    """Lightning's trainer for these settings: one long epoch of all batches, validated once every epoch of ours."""
    world = settings.devices * settings.nodes
    batches = total_batches(settings, recordings, world)
    gpu = torch.cuda.is_available()
    automatic: Precision = "bf16-mixed" if has_bfloat16() else "32-true"
    callbacks: list[Callback] = [
        ModelCheckpoint(
            settings.output,
            "last",
            every_n_train_steps=settings.checkpoint_steps,
            save_on_train_epoch_end=True,
            enable_version_counter=False,
        ),
        TQDMProgressBar(refresh_rate=5),
    ]
    if settings.averaged:
        longest = 1.0 - 1.0 / max(1.0, AVERAGED_SHARE * (batches // settings.accumulate))
        callbacks.append(WeightAveraging(use_buffers=True, avg_fn=moving_average(longest)))
    return lightning.Trainer(
        max_epochs=1,
        accelerator="gpu" if gpu else "cpu",
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy="ddp_find_unused_parameters_true" if world > 1 else "auto",
        precision=automatic if settings.precision == "auto" else settings.precision,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=1.0,
        sync_batchnorm=gpu and world > 1,
        use_distributed_sampler=False,
        val_check_interval=min(batches, settings.validate_epochs * (recordings // (settings.batch_size * world))),
        check_val_every_n_epoch=None,
        log_every_n_steps=10,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        callbacks=callbacks,
        plugins=[WholeCheckpointIO()],
        logger=[CSVLogger(settings.output, name="log"), TensorBoardLogger(settings.output, name="tensorboard")],
        default_root_dir=settings.output,
    )
