"""The training step of an alignment, for Lightning's loop: one pass for the reports, one for the acoustics.

What is random about a step is a function of (seed, step), so that a training goes on after a stop as if there had been
none. A clip that is not finite is replaced by one that is, and counted; a step whose gradient is not finite is dropped,
and counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor

from align.batches import Batch
from align.checkpointing import refuse_other_weights
from align.config import ObjectiveSettings
from align.encoders import EncoderSpec, build_encoder
from align.encoders.base import Encoder
from align.heads import Alignment
from edge.errors import UserError

BAD_SHARE = 0.01
BEFORE_JUDGING = 100
"""Clips or steps that are seen before a share of bad ones is held against a training."""


class TrainingError(UserError, ArithmeticError):
    """A training that cannot go on."""


class AlignmentTask(lightning.LightningModule):
    """An encoder, its heads and the loss.

    The checkpoint's `hyper_parameters` hold what is needed to build the encoder and to know what it was trained on.
    """

    def __init__(
        self,
        *,
        encoder: dict[str, Any],
        objective: dict[str, Any],
        optimisation: dict[str, Any],
        text_size: int,
        tasks: int,
        seed: int,
        data: dict[str, Any],  # noqa: ARG002 - kept in the checkpoint by save_hyperparameters
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.encoder: Encoder = build_encoder(EncoderSpec(**encoder))
        self.objective = ObjectiveSettings(**objective)
        self.alignment = Alignment(self.objective, self.encoder.embedding_size, text_size, tasks)
        self.optimisation = optimisation
        self.seed = seed
        self.judge: Callable[[], dict[str, float]] = dict
        self.batches_done = 0
        self.text: Tensor
        self.text_ids: Tensor
        self.answers: Tensor
        self.clips_seen = self.clips_bad = self.steps_bad = 0

    def attach(self, text: Tensor, text_ids: Tensor, answers: Tensor) -> None:
        """Give the training recordings' reports and answers.

        Args:
            text: (recordings, text_size).
            text_ids: (recordings,) int64.
            answers: (recordings, tasks) float32 with NaN for unknown.
        """
        self.text, self.text_ids, self.answers = text, text_ids, answers
        if not self.alignment.geometry.fitted:
            self.alignment.geometry.fit(text)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch."""
        # Dropout and augmentation, too, are a function of the step; every process draws its own.
        self.batches_done = index + 1
        torch.manual_seed((self.seed * 1_000_003 + index) * 1009 + self.global_rank)
        batch = self._finite(Batch(*batch))
        features = self.encoder.transform(batch.waveform)
        embeddings = self.encoder(self.encoder.augment(features)).clip
        rows = batch.recording
        if self.objective.shuffled == "anew":
            rows = rows[torch.randperm(len(rows)).to(rows.device)]
        losses = self.alignment(embeddings, self.text[rows], self.text_ids[rows], self.answers[rows])
        if self.objective.preservation:
            losses["preservation"] = self.objective.preservation * self.encoder.self_supervised_loss(
                features, batch.seed
            )
        loss = torch.stack(list(losses.values())).sum()
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()}, on_step=True)
        self.log("train/loss", loss.detach(), on_step=True, prog_bar=True)
        return loss

    def _finite(self, batch: Batch) -> Batch:
        """The batch with every clip that is not finite replaced by one that is.

        Raises:
            TrainingError: more than one clip in a hundred was not.
        """
        # NaN and infinity are the largest of a clip that holds one; to ask every sample takes six times as long.
        good = batch.waveform.abs().amax(dim=1).isfinite()
        self.clips_seen += len(good)
        bad = len(good) - int(good.sum())
        if not bad:
            return batch
        self.clips_bad += bad
        if bad == len(good) or (self.clips_seen >= BEFORE_JUDGING and self.clips_bad > BAD_SHARE * self.clips_seen):
            raise TrainingError(
                f"{self.clips_bad} of {self.clips_seen} clips hold values that are not finite, more than "
                f"{BAD_SHARE:.0%}; run python -m align.corpora to find their files"
            )
        place = torch.arange(len(good), device=good.device)
        source = torch.where(good, place, place[good][0])
        return Batch(batch.waveform[source], batch.recording[source], batch.seed[source])

    def on_before_optimizer_step(self, _optimizer: torch.optim.Optimizer) -> None:
        """Drop a step whose gradient is not finite: it would spoil every weight.

        The gradient is averaged over processes by now, so they all decide alike.

        Raises:
            TrainingError: more than one step in a hundred is such.
        """
        gradients = [parameter.grad for parameter in self.parameters() if parameter.grad is not None]
        norm = torch.stack([gradient.norm() for gradient in gradients]).sum()
        if bool(norm.isfinite()):
            return
        self.steps_bad += 1
        for parameter in self.parameters():
            parameter.grad = None
        steps = self.global_step + 1
        if steps >= BEFORE_JUDGING and self.steps_bad > BAD_SHARE * steps:
            raise TrainingError(
                f"{self.steps_bad} of {steps} steps had a gradient that is not finite, more than {BAD_SHARE:.0%}; "
                "lower the learning rate or use --precision 32-true"
            )

    def bad(self) -> str:
        """What was left out because it was not finite, for who runs a training; nothing where all was good."""
        if not self.clips_bad + self.steps_bad:
            return ""
        return f"{self.clips_bad} of {self.clips_seen} clips and {self.steps_bad} steps, which were not finite"

    def validation_step(self, _batch: Tensor, _index: int) -> None:
        """Log what `judge` finds; one process asks, the others wait."""
        if self.global_rank == 0:
            figures = {f"validation/{name}": value for name, value in self.judge().items()}
            self.log_dict(figures, batch_size=1, rank_zero_only=True)

    def on_fit_start(self) -> None:
        """Take the reports along to the device. They are no buffers: an average of weights would average those, too."""
        self.text, self.text_ids, self.answers = (
            values.to(self.device) for values in (self.text, self.text_ids, self.answers)
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Know the place in the stream of batches.

        Raises:
            UserError: the weights in it are those of another architecture.
        """
        refuse_other_weights(checkpoint, self)
        self.batches_done = int(checkpoint.get("batches_done", 0))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the place in the stream of batches."""
        checkpoint["batches_done"] = self.batches_done

    def configure_optimizers(self) -> Any:
        """AdamW; the learning rate rises over the warm-up and then falls to nothing."""
        given: dict[str, Any] = self.optimisation
        optimiser = torch.optim.AdamW(self.parameters(), lr=given["learning_rate"], weight_decay=given["weight_decay"])
        total, warmup = int(self.trainer.estimated_stepping_batches), int(given["warmup_steps"])

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            left: float = max(0.0, (total - step) / max(1, total - warmup))
            return float(left) if given["schedule"] == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)

        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
