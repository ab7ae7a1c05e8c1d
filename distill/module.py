"""The training task: losses, optimiser and validation, for Lightning's loop.

Validation scores whole clips and the moments of marked ones, so it measures what is promised and not the loss.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score
from torch import Tensor, nn
from torchaudio.transforms import FrequencyMasking

from align.checkpointing import refuse_other_weights
from align.statistics import auroc, clip_scores
from distill.frontend import LogMel
from distill.moments import of_windows
from distill.quantised import QuantisedStudent
from distill.scenes import Clip
from distill.student import FRAMES_PER_STEP, Student, StudentShape, joint_scores
from distill.targets import PRESENT, UNKNOWN, to_steps
from edge.bundle import FrontEnd

POSITIVE_WEIGHT = 2.0
"""Labelled sounds fill a small share of a scene; this keeps early training from the all-absent answer."""

WINDOW_LOSS_WEIGHT = 0.5
"""Weight of the loss on which labels a window holds."""


class MaskedBinaryCrossEntropy(nn.Module):
    """Binary cross-entropy over the entries that are known, averaged over each label and then over labels.

    Inputs are logits (batch, steps, labels) or (batch, labels) and targets of that shape with PRESENT, ABSENT, UNKNOWN.
    Averaging label by label keeps one with few known moments from vanishing behind the others.
    """

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the scalar loss; zero where nothing is known."""
        known = targets != UNKNOWN
        present = targets == PRESENT
        loss = nn.functional.binary_cross_entropy_with_logits(
            logits, present.float(), pos_weight=logits.new_tensor(POSITIVE_WEIGHT), reduction="none"
        )
        axes = tuple(range(logits.dim() - 1))
        return ((loss * known).sum(axes) / known.sum(axes).clamp(min=1)).mean()


class StudentTask(lightning.LightningModule):
    """Trains a `Student` on windows of log-mel with targets by step.

    The checkpoint's `hyper_parameters` hold all that is needed to build the student and to know what it was trained on.
    """

    def __init__(
        self,
        *,
        shape: dict[str, Any],
        labels: Sequence[str],
        front_end: dict[str, Any],
        learning_rate: float,
        window_s: float,
        data: dict[str, Any],  # noqa: ARG002 - kept in the checkpoint by save_hyperparameters
        quantise_from: int | None = None,
    ) -> None:
        """`quantise_from` is the epoch from which on the student hears itself in INT8; None: never."""
        super().__init__()
        self.save_hyperparameters()
        self.labels = tuple(labels)
        self.learning_rate = learning_rate
        self.front_end = FrontEnd(**front_end)
        self.window_samples = round(window_s * self.front_end.sample_rate_hz)
        self.step_samples = self.front_end.hop_samples * FRAMES_PER_STEP
        self.log_mel = LogMel(self.front_end)
        self.mask_bands = FrequencyMasking(12)
        # Convolutions train a fifth faster in this order of memory; the values are the same.
        self.student = Student(StudentShape(**shape))
        self.student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.quantise_from = quantise_from
        self.quantised = None if quantise_from is None else QuantisedStudent(self.student)
        self.loss = MaskedBinaryCrossEntropy()
        self.validation_clips: list[Clip] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _index: int) -> Tensor:
        """Return the loss of a batch: log-mel (batch, mel_bands, frames), targets (batch, steps, labels)."""
        log_mel, targets = batch
        if torch.rand(()) < 0.5:
            log_mel = self.mask_bands(log_mel, float(log_mel.mean()))
        in_int8 = self.quantise_from is not None and self.current_epoch >= self.quantise_from
        hears = self.quantised if in_int8 and self.quantised is not None else self.student
        _, step_logits, window_logits = hears(log_mel)
        step_loss = self.loss(step_logits, targets)
        window_loss = self.loss(window_logits, of_windows(targets))
        self.log_dict({"train/step_loss": step_loss, "train/window_loss": window_loss}, on_step=False, on_epoch=True)
        loss: Tensor = step_loss + WINDOW_LOSS_WEIGHT * window_loss
        self.log("loss", loss, prog_bar=True, logger=False)
        return loss

    def validation_step(self, _batch: Tensor, _index: int) -> None:
        """Score every validation clip and log the figures; the batch only tells Lightning that there is one."""
        self.log_dict({f"validation/{name}": value for name, value in self.evaluate().items()}, batch_size=1)

    def evaluate(self) -> dict[str, float]:
        """AUROC of each label over clips, AP of the steps in marked clips, and their mean as `score`."""
        tracks = [self.track(clip.samples) for clip in self.validation_clips]
        steps_per_s = self.front_end.sample_rate_hz / self.step_samples
        scores = np.stack([clip_scores(track, steps_per_s) for track in tracks])
        figures: dict[str, float] = {}
        for column, label in enumerate(self.labels):
            truth = [clip.holds[column] for clip in self.validation_clips]
            rows = [row for row, known in enumerate(truth) if known is not None]
            figures[f"auroc_{label}"] = auroc([bool(truth[row]) for row in rows], scores[rows, column])
        figures.update(self._marked_steps(tracks))
        figures["score"] = float(np.mean(list(figures.values())))
        return figures

    def _marked_steps(self, tracks: list[NDArray[np.float32]]) -> dict[str, float]:
        """Average precision of the steps of clips with hand-marked times, by label."""
        truth, score = defaultdict(list), defaultdict(list)
        for clip, track in zip(self.validation_clips, tracks, strict=True):
            if not clip.marked:
                continue
            steps = to_steps(clip.targets[: len(clip.targets) // FRAMES_PER_STEP * FRAMES_PER_STEP], FRAMES_PER_STEP)
            column = self.labels.index(clip.event)
            known = np.flatnonzero(steps[: len(track), column] != UNKNOWN)
            truth[clip.event].append(steps[known, column] == PRESENT)
            score[clip.event].append(track[known, column])
        return {
            f"step_ap_{label}": float(
                average_precision_score(np.concatenate(truth[label]), np.concatenate(score[label]))
            )
            for label in truth
        }

    def track(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores (steps, labels) of a whole clip from windows side by side; the last one is padded with silence."""
        windows = -(-len(samples) // self.window_samples)
        padded = np.zeros((windows, self.window_samples), dtype=np.float32)
        padded.reshape(-1)[: len(samples)] = samples
        steps = -(-len(samples) // self.step_samples)
        return self.scores(torch.from_numpy(padded)).reshape(-1, len(self.labels))[:steps]

    @torch.inference_mode()
    def scores(self, waveform: Tensor) -> NDArray[np.float32]:
        """Scores (windows, steps, labels) of windows (windows, window_samples)."""
        _, step_logits, window_logits = self.student(self._features(waveform.to(self.device)))
        return np.asarray(joint_scores(step_logits, window_logits).float().cpu().numpy())

    def _features(self, waveform: Tensor) -> Tensor:
        """Log-mel in float32 whatever the net is trained in, as it is on the device."""
        with torch.autocast(self.device.type, enabled=False):
            log_mel: Tensor = self.log_mel(waveform)
        return log_mel

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from weights of this architecture alone.

        Raises:
            UserError: they are those of another one.
        """
        refuse_other_weights(checkpoint, self)

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule over the whole training."""
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=1e-2)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.learning_rate, total_steps=steps, pct_start=0.1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
