"""CKA against slow formulas and by its laws, and the loss of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from align.objectives import CKALoss, ObjectiveError, ReleasedLoss, linear_cka

Array = NDArray[np.float64]

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def features(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def kernel(rows: Array) -> Array:
    """Inner products, one by one."""
    return np.array([[sum(a * b for a, b in zip(one, two, strict=True)) for two in rows] for one in rows])


def slow_hsic(x: Array, y: Array) -> float:
    """Biased HSIC up to a factor, by centring the kernels entry by entry."""
    k, m = kernel(x), kernel(y)
    total = 0.0
    for i in range(len(k)):
        for j in range(len(k)):
            a = k[i, j] - k[i, :].mean() - k[:, j].mean() + k.mean()
            b = m[i, j] - m[i, :].mean() - m[:, j].mean() + m.mean()
            total += a * b
    return total


def slow_unbiased_hsic(x: Array, y: Array) -> float:
    """HSIC_1 as Song et al. print it."""
    k, m = kernel(x), kernel(y)
    np.fill_diagonal(k, 0.0)
    np.fill_diagonal(m, 0.0)
    n, one = len(k), np.ones(len(k))
    product = np.trace(k @ m) + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
    return float((product - 2 / (n - 2) * (one @ k @ m @ one)) / (n * (n - 3)))


def slow_cka(x: Tensor, y: Tensor, debiased: bool) -> float:
    hsic = slow_unbiased_hsic if debiased else slow_hsic
    a, b = x.double().numpy(), y.double().numpy()
    return float(hsic(a, b) / np.sqrt(hsic(a, a) * hsic(b, b)))


@few
@given(seed=seeds, count=st.integers(5, 12), debiased=st.booleans(), offset=st.sampled_from([0.0, 30.0]))
def test_cka_equals_the_slow_formula(seed: int, count: int, debiased: bool, offset: float) -> None:
    x, noise = features(seed, count, 6), features(seed + 1, count, 9)
    y = torch.cat([x, x[:, :3]], dim=1) + noise
    assert linear_cka(x + offset, y - offset, debiased).item() == pytest.approx(slow_cka(x, y, debiased), abs=1e-4)
    exact = linear_cka(x.double(), y.double(), debiased).item()
    assert exact == pytest.approx(slow_cka(x, y, debiased), abs=1e-9)


@few
@given(seed=seeds, count=st.integers(4, 20), debiased=st.booleans())
def test_cka_of_features_with_themselves_is_one(seed: int, count: int, debiased: bool) -> None:
    x = features(seed, count, 5)
    assert linear_cka(x, x, debiased).item() == pytest.approx(1.0, abs=1e-3)


@few
@given(seed=seeds, scale=st.floats(1e-6, 1e6), debiased=st.booleans())
def test_cka_does_not_change_with_rotation_scale_and_offset(seed: int, scale: float, debiased: bool) -> None:
    x, y = features(seed, 12, 5), features(seed + 1, 12, 7)
    rotation = torch.linalg.qr(features(seed + 2, 5, 5)).Q
    moved = scale * (x @ rotation + features(seed + 3, 5))
    assert linear_cka(moved, y, debiased).item() == pytest.approx(linear_cka(x, y, debiased).item(), abs=1e-4)


@few
@given(seed=seeds, debiased=st.booleans())
def test_cka_does_not_change_when_sides_or_order_of_pairs_do(seed: int, debiased: bool) -> None:
    x, y = features(seed, 10, 5), features(seed + 1, 10, 3)
    value = linear_cka(x, y, debiased).item()
    order = torch.randperm(10, generator=torch.Generator().manual_seed(seed))
    assert linear_cka(y, x, debiased).item() == pytest.approx(value, abs=1e-5)
    assert linear_cka(x[order], y[order], debiased).item() == pytest.approx(value, abs=1e-5)


@few
@given(seed=seeds)
def test_wrong_pairs_raise_the_loss_but_not_the_released_one(seed: int) -> None:
    audio = features(seed, 24, 8)
    text = audio + 0.3 * features(seed + 1, 24, 8)
    # Everybody gets the next one's report.
    wrong = text.roll(1, dims=0)
    assert CKALoss()(audio, wrong) > CKALoss()(audio, text) + 0.3
    assert ReleasedLoss()(audio, wrong).item() == pytest.approx(ReleasedLoss()(audio, text).item(), abs=1e-5)


def independent(debiased: bool) -> NDArray[np.float64]:
    draws = [(features(seed, 24, 512), features(seed + 10_000, 24, 512)) for seed in range(300)]
    return np.array([linear_cka(x, y, debiased).item() for x, y in draws])


def test_debiased_cka_of_independent_features_is_zero_on_average() -> None:
    values = independent(debiased=True)
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))


def test_biased_cka_of_independent_features_is_inflated() -> None:
    assert independent(debiased=False).min() > 0.9


@pytest.mark.parametrize("debiased", [False, True])
def test_gradient_of_cka_is_its_derivative(debiased: bool) -> None:
    x = features(0, 7, 4).double().requires_grad_()
    y = features(1, 7, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: linear_cka(a, b, debiased), (x, y))


@pytest.mark.parametrize(("debiased", "count"), [(True, 1), (True, 3), (False, 1), (False, 0)])
def test_too_few_pairs_are_told(debiased: bool, count: int) -> None:
    with pytest.raises(ObjectiveError, match=f"needs [24] pairs, the batch has {count}"):
        CKALoss(debiased)(features(0, count, 3), features(1, count, 3))


def test_sides_of_unequal_length_are_told() -> None:
    with pytest.raises(ObjectiveError, match=r"\(8, 3\) and \(7, 3\)"):
        CKALoss()(features(0, 8, 3), features(1, 7, 3))


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_constant_features_have_a_loss_of_one_and_no_gradient(debiased: bool, value: float) -> None:
    audio = torch.full((17, 33), value, requires_grad=True)
    text = features(0, 17, 9).requires_grad_()
    loss = CKALoss(debiased)(audio, text)
    loss.backward()
    assert loss.item() == pytest.approx(1.0)
    assert audio.grad is not None and text.grad is not None
    assert not audio.grad.any() and not text.grad.any()


@pytest.mark.parametrize("count", [4, 5, 8])
def test_points_at_equal_distances_give_a_finite_loss_and_gradient(count: int) -> None:
    # Their Gram matrix has nothing off the diagonal, so that debiased CKA is 0/0.
    audio = torch.eye(count).requires_grad_()
    loss = CKALoss()(audio, features(0, count, 3))
    loss.backward()
    assert loss.item() == pytest.approx(1.0, abs=0.05)
    assert audio.grad is not None and torch.isfinite(audio.grad).all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_features_that_are_not_finite_are_not_hidden(bad: float) -> None:
    audio = features(0, 8, 3)
    audio[2, 1] = bad
    assert torch.isnan(CKALoss()(audio, features(1, 8, 3)))


@pytest.mark.parametrize("debiased", [False, True])
def test_mixed_precision_hardly_changes_the_loss(debiased: bool) -> None:
    head = torch.nn.Linear(16, 32)
    audio = features(0, 48, 16)
    # An offset as large as embeddings have: sums in bfloat16 would lose what lies on top of it.
    text = audio @ features(1, 16, 64) + 10
    exact = CKALoss(debiased)(head(audio), text)
    with torch.autocast("cpu", torch.bfloat16):
        embedded = head(audio)
        loss = CKALoss(debiased)(embedded, text)
    assert embedded.dtype == torch.bfloat16 and loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=1e-2)
    loss.backward()
    assert torch.isfinite(head.weight.grad).all()
