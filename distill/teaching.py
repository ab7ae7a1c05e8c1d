"""The training step of a distillation, for Lightning's loop, and what it is judged by.

A student hears a view, and learns what the teacher made of the same view. The heads are fitted when all is learnt
(`distill.heads`); while it learns, its own head of the window is there for the losses of labels and the curves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from align.checkpointing import refuse_other_weights
from align.clips import Clips
from align.statistics import auroc
from align.tasks import Task, examples
from distill.embedding import embed_recordings
from distill.frontend import LogMel
from distill.kept import Kept
from distill.lessons import Lessons, Views
from distill.moments import Moments
from distill.objectives import Taught, TeachingLoss
from distill.quantised import QuantisedStudent
from distill.student import Student, StudentShape
from distill.targets import holds
from distill.teach_config import ObjectiveWeights
from edge.manifest import FrontEnd

LEAST_SPREAD = 1e-6
"""Standard deviation below which a dimension of the teacher's is a constant, and is not blown up."""


class Lesson(NamedTuple):
    """A view and what is to be learnt of it; in a batch, each with a first axis more."""

    log_mel: Tensor
    """(mel_bands, frames) float32."""
    teacher: Tensor
    """(teacher_size,) float32: the teacher's embedding of this view."""
    answers: Tensor
    """(tasks,) float32, NaN for unknown."""
    moments: Tensor
    """(steps, events) int8, as `distill.targets` has them."""


class LessonPlan(Dataset[Lesson]):
    """Lessons by number: which recording comes when, in which view, is a function of (seed, number) alone."""

    def __init__(
        self,
        views: Views,
        lessons: Lessons,
        heard: Kept,
        answers: Tensor,
        moments: Moments,
        batch_size: int,
        seed: int,
    ) -> None:
        """`answers` are (recordings, tasks); an epoch drops what does not fill a batch."""
        self.views, self.lessons, self.heard = views, lessons, heard
        self.answers, self.moments, self.seed = answers, moments, seed
        self.per_epoch = len(views.clips) // batch_size * batch_size
        self._epoch, self._order = -1, np.empty(0, dtype=np.int64)

    def __getitem__(self, number: int) -> Lesson:
        epoch, place = divmod(number, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(len(self.views.clips))
        recording = int(self._order[place])
        view = int(np.random.default_rng([self.seed, epoch, recording]).integers(self.lessons.views))
        return Lesson(
            torch.from_numpy(self.heard[view][recording].astype(np.float32)),
            torch.from_numpy(self.lessons[view][recording].astype(np.float32)),
            self.answers[recording],
            torch.from_numpy(self.moments.of_view(recording, self.views.start(recording, view))),
        )


class TeachingTask(lightning.LightningModule):
    """A student, the projector to its teacher's space, and the losses."""

    teacher_mean: Tensor
    teacher_scale: Tensor
    """(teacher_size,): what the teacher's embeddings are standardised by."""
    teacher_weight: Tensor
    """(tasks, teacher_size): the teacher's heads."""
    teacher_bias: Tensor

    def __init__(
        self,
        *,
        shape: dict[str, Any],
        front_end: dict[str, Any],
        teacher_size: int,
        objective: dict[str, float],
        learning_rate: float,
        weight_decay: float,
        quantise_from: int,
    ) -> None:
        """`quantise_from` is the epoch from which on the student hears itself in INT8."""
        super().__init__()
        self.save_hyperparameters()
        self.quantise_from = quantise_from
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.log_mel = LogMel(FrontEnd(**front_end))
        self.student = Student(StudentShape(**shape))
        # Convolutions train faster in this order of memory; the values are the same.
        self.student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.quantised = QuantisedStudent(self.student)
        self.projector = nn.Linear(self.student.shape.embedding_size, teacher_size)
        self.losses = TeachingLoss(ObjectiveWeights(**objective))
        tasks = self.student.shape.clip_labels
        self.register_buffer("teacher_mean", torch.zeros(teacher_size))
        self.register_buffer("teacher_scale", torch.ones(teacher_size))
        self.register_buffer("teacher_weight", torch.zeros(tasks, teacher_size))
        self.register_buffer("teacher_bias", torch.zeros(tasks))
        self.judge: Callable[[], dict[str, float]] = dict

    def attach(self, lessons: Lessons, weight: Tensor, bias: Tensor) -> None:
        """Give what the teacher's embeddings are standardised by, and its heads.

        Args:
            lessons: of the training recordings.
            weight: (tasks, teacher_size).
            bias: (tasks,).
        """
        mean, scale = map(torch.from_numpy, lessons.spread())
        self.teacher_mean.copy_(mean)
        self.teacher_scale.copy_(torch.where(scale > LEAST_SPREAD, scale, 1.0))
        self.teacher_weight.copy_(weight)
        self.teacher_bias.copy_(bias)

    def training_step(self, batch: Lesson, _index: int) -> Tensor:
        """Return the loss of a batch."""
        lesson = Lesson(*batch)
        hears = self.quantised if self.current_epoch >= self.quantise_from else self.student
        embedding, step_logits, logits = hears(lesson.log_mel)
        events = self.student.step_labels
        said = Taught(
            embedding,
            self.projector(embedding),
            logits[:, events:],
            (lesson.teacher - self.teacher_mean) / self.teacher_scale,
            lesson.teacher @ self.teacher_weight.T + self.teacher_bias,
            lesson.answers,
            step_logits,
            logits[:, :events],
            lesson.moments,
        )
        losses = self.losses(said)
        loss = torch.stack(list(losses.values())).sum()
        figures = {f"train/{name}": value.detach() for name, value in losses.items()}
        self.log_dict(figures | {"train/loss": loss.detach()}, on_step=False, on_epoch=True, batch_size=len(embedding))
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=len(embedding))
        return loss

    def validation_step(self, _batch: Tensor, _index: int) -> None:
        """Log what `judge` finds; the batch only tells Lightning that there is something to validate."""
        self.log_dict({f"validation/{name}": value for name, value in self.judge().items()}, batch_size=1)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from weights of this architecture alone.

        Raises:
            UserError: they are those of another one.
        """
        refuse_other_weights(checkpoint, self)

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle schedule over the whole training."""
        optimiser = torch.optim.AdamW(self.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.learning_rate, total_steps=steps, pct_start=0.1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@torch.inference_mode()
def judge(
    task: TeachingTask,
    held_out: Clips,
    teacher: Tensor,
    *,
    events: tuple[str, ...],
    tasks: tuple[Task, ...],
    window_samples: int,
) -> dict[str, float]:
    """Cosine of the projected embeddings of held-out recordings to the teacher's, and AUROC of each label.

    Args:
        task: the training.
        held_out: recordings of people that nothing is learnt of.
        teacher: (recordings, teacher_size) the teacher's embeddings of a view of each.
        events: of the steps; here, whether a recording holds one at all.
        tasks: questions, in the order of the clip labels.
        window_samples: heard at once.
    """
    embeddings = embed_recordings(task.student, task.log_mel, held_out, window_samples)
    given = torch.from_numpy(embeddings).to(task.device)
    projected = task.projector(given)
    wanted = (teacher.to(task.device) - task.teacher_mean) / task.teacher_scale
    figures = {"cosine": float(nn.functional.cosine_similarity(projected, wanted, dim=1).mean())}
    logits = task.student.window_head(given).float().cpu().numpy()
    for column, event in enumerate(events):
        known = [(row, truth) for row, of in enumerate(held_out.rows) if (truth := holds(of, event)) is not None]
        if len({truth for _, truth in known}) == 2:
            figures[f"auroc_{event}"] = auroc([truth for _, truth in known], logits[[row for row, _ in known], column])
    for column, question in enumerate(tasks, start=len(events)):
        asked = examples(question, held_out.rows, logits[:, column : column + 1])
        if asked.answers.any() and not asked.answers.all():
            figures[f"auroc_{question.name}"] = auroc(asked.answers, asked.features[:, 0])
    return figures
