"""The loss looks at what is known only; validation judges whole clips."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from align.corpora import Recording
from align.runs import moving_average
from distill.module import POSITIVE_WEIGHT, MaskedBinaryCrossEntropy, StudentTask
from distill.scenes import Clip
from distill.student import StudentShape
from distill.targets import ABSENT, PRESENT, UNKNOWN, holds
from distill.training import AVERAGE_DECAY
from edge.bundle import FrontEnd

RATE = 16000


@pytest.fixture
def task() -> StudentTask:
    torch.manual_seed(0)
    shape = asdict(StudentShape(width=16, context_blocks=1))
    labels = ("cough", "breath", "speech")
    return StudentTask(
        shape=shape, labels=labels, front_end=FrontEnd().model_dump(), learning_rate=1e-3, window_s=2.0, data={}
    ).eval()


def test_loss_is_the_plain_loop_over_known_entries() -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((3, 5, 2))
    targets = rng.choice([PRESENT, ABSENT, UNKNOWN], size=(3, 5, 2))
    per_label = []
    for label in range(2):
        losses = []
        for logit, target in zip(logits[:, :, label].ravel(), targets[:, :, label].ravel(), strict=True):
            score = 1 / (1 + np.exp(-logit))
            if target == PRESENT:
                losses.append(-POSITIVE_WEIGHT * np.log(score))
            elif target == ABSENT:
                losses.append(-np.log(1 - score))
        per_label.append(np.mean(losses))
    loss = MaskedBinaryCrossEntropy()(torch.tensor(logits), torch.tensor(targets))
    assert float(loss) == pytest.approx(np.mean(per_label))


def test_unknown_moments_have_no_gradient() -> None:
    logits = torch.zeros(1, 3, 1, requires_grad=True)
    MaskedBinaryCrossEntropy()(logits, torch.tensor([[[PRESENT], [UNKNOWN], [ABSENT]]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 1, 0] == 0
    assert logits.grad[0, 0, 0] < 0 < logits.grad[0, 2, 0]


def test_batch_in_which_nothing_is_known_costs_nothing() -> None:
    loss = MaskedBinaryCrossEntropy()(torch.randn(2, 4, 3), torch.full((2, 4, 3), UNKNOWN))
    assert float(loss) == 0.0


@pytest.mark.parametrize("samples", [400, 16000, 32000, 50000])
def test_track_covers_clips_of_any_length(task: StudentTask, samples: int) -> None:
    sound = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    track = task.track(sound)
    assert track.shape == (-(-samples // 640), 3)
    first = np.zeros((1, 32000), dtype=np.float32)
    first[0, : min(samples, 32000)] = sound[:32000]
    np.testing.assert_allclose(track[:50], task.scores(torch.from_numpy(first))[0, : len(track)], atol=1e-5)


def test_clip_in_which_a_label_may_hide_is_not_judged_for_it(task: StudentTask) -> None:
    def clip(event: str) -> Clip:
        samples = (0.1 * np.random.default_rng(len(event)).standard_normal(RATE)).astype(np.float32)
        recording = Recording(Path("a.wav"), "home", "ann", "validation", "airborne", event)
        known = tuple(holds(recording, label) for label in ("cough", "breath", "speech"))
        return Clip(samples, np.zeros((100, 3), dtype=np.int8), event, "home", known)

    task.validation_clips = [clip("cough"), clip("breath"), clip("speech"), clip("dog")]
    known = task.evaluate()["auroc_breath"]
    task.validation_clips.append(clip("non_cough"))
    assert task.evaluate()["auroc_breath"] == known
    task.validation_clips += [clip("cough"), clip("rain")]
    assert len([clip for clip in task.validation_clips if clip.holds[1] is not None]) == 6


def test_moments_that_nobody_knows_do_not_count_in_marked_clips(task: StudentTask) -> None:
    samples = (0.1 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    targets = np.zeros((100, 3), dtype=np.int8)
    targets[20:44, 0] = PRESENT
    known = Clip(samples, targets, "cough", "home", (True, False, False), marked=True)
    track = task.track(samples)
    task.validation_clips = [known]
    as_absent = task._marked_steps([track])["step_ap_cough"]
    targets[44:, 0] = UNKNOWN
    assert task._marked_steps([track])["step_ap_cough"] != as_absent


def test_moving_average_starts_short_and_ends_long() -> None:
    average = torch.tensor(100.0)
    current = torch.tensor(1.0)
    first = moving_average(AVERAGE_DECAY)(average, current, torch.tensor(0))
    late = moving_average(AVERAGE_DECAY)(average, current, torch.tensor(100_000))
    assert float(first) == pytest.approx(10.9)
    assert float(late) == pytest.approx(100 * AVERAGE_DECAY + (1 - AVERAGE_DECAY))
