"""Each loss against the slow formula of its reference, and what the sum of them leaves out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from distill.module import MaskedBinaryCrossEntropy
from distill.objectives import (
    CenteredKernelAlignment,
    EmbeddingCosine,
    EmbeddingRegression,
    Events,
    HardLabels,
    Relational,
    SoftLabels,
    Taught,
    TeachingLoss,
)
from distill.teach_config import ObjectiveWeights

NAMES = ("cosine", "smooth_l1", "relational", "cka", "soft_labels", "hard_labels", "events")
NOTHING = dict.fromkeys(NAMES, 0.0)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def sigmoid(x: float) -> float:
    return float(1 / (1 + np.exp(-x)))


def test_cosine_is_one_less_the_mean_cosine() -> None:
    p, t = draw(5, 3), draw(5, 3, seed=1)
    cosines = [float(a @ b) / np.sqrt(float(a @ a) * float(b @ b)) for a, b in zip(p, t, strict=True)]
    assert float(EmbeddingCosine()(p, t)) == pytest.approx(1 - np.mean(cosines))
    assert float(EmbeddingCosine()(3 * t, t)) == pytest.approx(0)


def test_regression_is_quadratic_near_and_linear_far() -> None:
    p, t = torch.tensor([[0.5, 4.0]]), torch.zeros(1, 2)
    assert float(EmbeddingRegression()(p, t)) == pytest.approx((0.125 + 3.5) / 2)


def test_relational_is_the_plain_loop_over_pairs() -> None:
    s, t = draw(6, 3), draw(6, 4, seed=1)
    s_centred, t_centred = s - s.mean(0), t - t.mean(0)
    gaps = []
    for i in range(6):
        for j in range(6):
            if i != j:
                a = torch.cosine_similarity(s_centred[i], s_centred[j], dim=0)
                b = torch.cosine_similarity(t_centred[i], t_centred[j], dim=0)
                gaps.append(float((a - b) ** 2))
    assert float(Relational()(s, t)) == pytest.approx(np.mean(gaps))


@pytest.mark.parametrize("loss", [Relational(), CenteredKernelAlignment()])
def test_a_student_that_lies_elsewhere_but_alike_has_nothing_to_learn(loss: torch.nn.Module) -> None:
    """Turned, scaled and moved, with every distance in proportion."""
    teacher = draw(12, 5)
    turn = torch.linalg.qr(draw(5, 5, seed=2)).Q
    assert float(loss(2.5 * teacher @ turn + 7.0, teacher)) == pytest.approx(0, abs=1e-6)
    assert float(loss(draw(12, 5, seed=3), teacher)) > 0.1


def test_unrelated_embeddings_of_many_dimensions_are_not_taken_for_alike() -> None:
    assert float(CenteredKernelAlignment()(draw(12, 60), draw(12, 60, seed=1))) > 0.8


def test_soft_labels_are_the_divergence_of_softened_probabilities() -> None:
    z, t, temperature = draw(4, 2), 3 * draw(4, 2, seed=1), 2.0
    each = []
    for a, b in zip(z.flatten().tolist(), t.flatten().tolist(), strict=True):
        q, p = sigmoid(a / temperature), sigmoid(b / temperature)
        each.append(p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q)))
    assert float(SoftLabels(temperature)(z, t)) == pytest.approx(temperature**2 * np.mean(each))
    assert float(SoftLabels(temperature)(t, t)) == pytest.approx(0, abs=1e-9)


def test_hard_labels_are_averaged_over_what_is_known_label_by_label() -> None:
    logits = draw(3, 2).requires_grad_()
    nobody = float("nan")
    answers = torch.tensor([[1.0, nobody], [0.0, 1.0], [nobody, nobody]])
    z = logits.detach()
    first = (-np.log(sigmoid(float(z[0, 0]))) - np.log(1 - sigmoid(float(z[1, 0])))) / 2
    second = -np.log(sigmoid(float(z[1, 1])))
    loss = HardLabels()(logits, answers)
    assert float(loss.detach()) == pytest.approx((first + second) / 2)
    loss.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad != 0, ~answers.isnan())


def batch() -> Taught:
    answers = torch.tensor([[1.0], [0.0]] * 4)
    return Taught(
        embedding=draw(8, 4),
        projected=draw(8, 6, seed=1),
        logits=draw(8, 1, seed=2),
        teacher=draw(8, 6, seed=3),
        teacher_logits=draw(8, 1, seed=4),
        answers=answers,
        step_logits=draw(8, 5, 1, seed=5),
        window_logits=draw(8, 1, seed=6),
        moments=torch.ones(8, 5, 1, dtype=torch.int8),
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_scales_its_loss_and_leaves_the_others_out(name: str) -> None:
    once = TeachingLoss(ObjectiveWeights(**{**NOTHING, name: 1.0}))(batch())
    thrice = TeachingLoss(ObjectiveWeights(**{**NOTHING, name: 3.0}))(batch())
    assert list(once) == [name]
    assert float(once[name]) > 0
    assert float(thrice[name]) == pytest.approx(3 * float(once[name]))


def test_losses_of_labels_that_nobody_asked_for_are_left_out() -> None:
    full = batch()
    nothing = torch.zeros(8, 0)
    without = full._replace(
        logits=nothing,
        teacher_logits=nothing,
        answers=nothing,
        step_logits=torch.zeros(8, 5, 0),
        window_logits=nothing,
        moments=torch.zeros(8, 5, 0, dtype=torch.int8),
    )
    found = TeachingLoss(ObjectiveWeights())(without)
    assert set(found) == {"cosine", "smooth_l1", "relational"}
    assert all(bool(value.isfinite()) for value in found.values())


@pytest.mark.parametrize("name", ["relational", "cka"])
def test_distances_within_a_batch_are_those_of_the_student_itself(name: str) -> None:
    losses = TeachingLoss(ObjectiveWeights(**{**NOTHING, name: 1.0}))
    elsewhere = batch()._replace(projected=draw(8, 6, seed=9))
    assert torch.equal(losses(elsewhere)[name], losses(batch())[name])
    assert not torch.equal(losses(batch()._replace(embedding=draw(8, 4, seed=9)))[name], losses(batch())[name])


def test_losses_are_computed_in_float32_whatever_the_net_is_trained_in() -> None:
    losses = TeachingLoss(ObjectiveWeights(**dict.fromkeys(NAMES, 1.0)))
    in_half = Taught(*(values.bfloat16() for values in batch()))
    exact = losses(Taught(*(values.float() for values in in_half)))
    with torch.autocast("cpu", torch.bfloat16):
        found = losses(in_half)
    assert all(torch.equal(found[name], exact[name]) for name in NAMES)


def test_events_are_of_steps_and_half_of_windows() -> None:
    said = batch()
    known = MaskedBinaryCrossEntropy()
    expected = known(said.step_logits, said.moments) + 0.5 * known(said.window_logits, said.moments[:, 0])
    assert float(Events()(said.step_logits, said.window_logits, said.moments)) == pytest.approx(float(expected))
