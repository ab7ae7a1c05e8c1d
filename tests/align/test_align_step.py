"""The training step: the same over two processes as in one, and what is not finite does no harm."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from align.batches import Batch
from align.module import BEFORE_JUDGING, TrainingError
from align.validation import compare
from tests.training_steps import TEXT_SIZE, batches, losses_and_gradients, make_task, of_two_processes

OBJECTIVES = [
    {},
    {"queue": 12},
    {"name": "siglip", "preservation": 0.0},
    {"text": "head", "pointwise": 0.0, "variance_covariance": 1.0},
    {"name": "released", "text": "head", "pointwise": 0.0},
]


def test_two_processes_have_the_loss_and_gradient_of_one(tmp_path: Path) -> None:
    """The loss of one is the mean over processes: of the self-supervised term each knows its own clips' alone."""
    first, second = of_two_processes(tmp_path, OBJECTIVES)
    for objective, mine, other in zip(OBJECTIVES, first, second, strict=True):
        alone = losses_and_gradients(**objective)
        assert alone.keys() == mine.keys()
        for name, value in alone.items():
            got = (mine[name] + other[name]) / 2 if name.startswith("loss") else mine[name]
            torch.testing.assert_close(got, value, atol=1e-5, rtol=1e-5, msg=lambda text, n=name: f"{n}: {text}")


def test_step_is_a_function_of_its_number_whatever_was_drawn_before() -> None:
    task, batch = make_task("scratch-conv"), batches()[0]
    torch.rand(5)
    first = task.training_step(batch, 4)
    torch.rand(9)
    task = make_task("scratch-conv")
    assert task.training_step(batch, 4) == first
    assert task.training_step(batch, 5) != first


def test_comparison_is_without_dropout_and_training_goes_on_with_it() -> None:
    task = make_task("scratch-conv", audio_head="mlp").train()
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((4, task.encoder.embedding_size)).astype(np.float32)
    text = rng.standard_normal((4, TEXT_SIZE)).astype(np.float32)
    first, again = (compare(task, embeddings, list("abcd"), text)[0] for _ in range(2))
    assert np.array_equal(first, again)
    assert task.alignment.training


def test_pairs_that_are_shuffled_anew_tell_nothing_whatever_the_reports_say() -> None:
    """Reports that lie just as the recordings do: paired they are aligned already, shuffled only by chance."""
    batch = batches()[0]

    def mean_alignment(shuffled: str) -> float:
        task = make_task("scratch-conv", shuffled=shuffled, pointwise=0.0, preservation=0.0).eval()
        with torch.no_grad():
            embeddings = task.encoder(task.encoder.transform(batch.waveform)).clip
            text = torch.zeros(len(task.text), TEXT_SIZE)
            text[batch.recording] = task.alignment.audio_head(embeddings)
            task.attach(text, task.text_ids, task.answers)
            return 1.0 - float(torch.stack([task.training_step(batch, step) for step in range(40)]).mean())

    assert mean_alignment("") > 0.8
    assert abs(mean_alignment("anew")) < 0.1


def test_clip_that_is_not_finite_is_replaced_and_counted() -> None:
    task, batch = make_task(), batches()[0]
    batch.waveform[3, 100] = float("nan")
    loss = task.training_step(batch, 0)
    assert loss.isfinite()
    assert task.bad() == "1 of 12 clips and 0 steps, which were not finite"
    repaired = Batch(*(part.clone() for part in batch))
    for part in repaired:
        part[3] = part[0]
    assert make_task().training_step(repaired, 0) == loss


def test_too_many_clips_that_are_not_finite_end_the_training() -> None:
    task, batch = make_task(), batches()[0]
    batch.waveform[3, 100] = float("inf")
    with pytest.raises(TrainingError, match=r"\d+ of \d+ clips hold values that are not finite, more than 1%"):
        for _ in range(BEFORE_JUDGING):
            task.training_step(batch, 0)


def test_batch_of_which_no_clip_is_finite_ends_the_training() -> None:
    task, batch = make_task(), batches()[0]
    batch.waveform[:] = float("nan")
    with pytest.raises(TrainingError, match="12 of 12 clips"):
        task.training_step(batch, 0)


def test_gradient_that_is_not_finite_moves_no_weight() -> None:
    task = make_task()
    optimiser = torch.optim.AdamW(task.parameters(), lr=0.1)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    (task.training_step(batches()[0], 0) * float("nan")).backward()
    task.on_before_optimizer_step(optimiser)
    optimiser.step()
    assert task.steps_bad == 1
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())


def test_finite_gradient_passes() -> None:
    task = make_task()
    task.training_step(batches()[0], 0).backward()
    task.on_before_optimizer_step(torch.optim.AdamW(task.parameters()))
    assert task.steps_bad == 0
    assert any(value.grad is not None for value in task.parameters())
