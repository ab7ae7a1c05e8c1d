"""InfoNCE and SigLIP, and the two losses without contrast, against slow formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from align.objectives import InfoNCE, ObjectiveError, Pointwise, ReleasedLoss, SigLIP

few = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def vectors(seed: int, count: int, size: int = 6) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def cosine(a: Tensor, b: Tensor) -> float:
    pairs = list(zip(a.tolist(), b.tolist(), strict=True))
    return sum(x * y for x, y in pairs) / math.sqrt(sum(x * x for x, _ in pairs) * sum(y * y for _, y in pairs))


def slow_info_nce(audio: Tensor, text: Tensor, ids: list[int], scale: float) -> float:
    count, total = len(ids), 0.0
    for i in range(count):
        alike = [j for j in range(count) if ids[j] == ids[i]]
        over_text = sum(math.exp(scale * cosine(audio[i], text[j])) for j in range(count))
        over_audio = sum(math.exp(scale * cosine(audio[j], text[i])) for j in range(count))
        for j in alike:
            total -= (scale * cosine(audio[i], text[j]) - math.log(over_text)) / len(alike)
            total -= (scale * cosine(audio[j], text[i]) - math.log(over_audio)) / len(alike)
    return total / (2 * count)


def slow_siglip(audio: Tensor, text: Tensor, ids: list[int], scale: float, bias: float) -> float:
    total = 0.0
    for i, one in enumerate(ids):
        for j, other in enumerate(ids):
            logit = scale * cosine(audio[i], text[j]) + bias
            total += math.log1p(math.exp(-logit if one == other else logit))
    return total / len(ids)


@few
@given(seed=seeds, ids=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_info_nce_equals_the_slow_formula(seed: int, ids: list[int]) -> None:
    audio, text = vectors(seed, len(ids)), vectors(seed + 1, len(ids))
    loss = InfoNCE()(audio, text, torch.tensor(ids))
    assert loss.item() == pytest.approx(slow_info_nce(audio, text, ids, 1 / 0.07), rel=1e-4, abs=1e-5)


@few
@given(seed=seeds, ids=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_siglip_equals_the_slow_formula(seed: int, ids: list[int]) -> None:
    audio, text = vectors(seed, len(ids)), vectors(seed + 1, len(ids))
    loss = SigLIP()(audio, text, torch.tensor(ids))
    assert loss.item() == pytest.approx(slow_siglip(audio, text, ids, 10, -10), rel=1e-4)


def pull(loss: nn.Module, ids: list[int]) -> Tensor:
    """How fast a step moves each recording along its report, for two of four whose reports are equal."""
    text = torch.eye(4)[[0, 0, 1, 2]]
    audio = (text + 0.5).requires_grad_()
    loss(audio, text, torch.tensor(ids)).backward()
    assert audio.grad is not None
    return -(audio.grad * text).sum(dim=1)


def test_siglip_does_not_push_recordings_from_a_report_equal_to_theirs() -> None:
    assert (pull(SigLIP(), [7, 7, 8, 9])[:2] > pull(SigLIP(), [6, 7, 8, 9])[:2]).all()


def test_info_nce_minds_equal_reports_even_if_their_ids_differ() -> None:
    """One softmax holds both, so that what one loses by the other comes back."""
    torch.testing.assert_close(pull(InfoNCE(), [7, 7, 8, 9]), pull(InfoNCE(), [6, 7, 8, 9]))


def test_info_nce_of_perfect_pairs_is_the_entropy_of_equal_reports() -> None:
    text = torch.eye(4)[[0, 0, 1, 2]]
    loss = InfoNCE()
    with torch.no_grad():
        loss.log_scale.fill_(math.log(100))
    assert loss(text, text, torch.tensor([7, 7, 8, 9])).item() == pytest.approx(math.log(2) / 2, abs=1e-5)


def test_info_nce_temperature_is_held_and_can_return() -> None:
    loss = InfoNCE()
    with torch.no_grad():
        loss.log_scale.fill_(20.0)
    text = torch.eye(4)
    wrong = text.roll(1, dims=0)
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.01)
    loss(wrong, text, torch.arange(4)).backward()
    assert loss.log_scale.item() == pytest.approx(math.log(100))
    optimizer.step()
    assert loss.log_scale.item() < math.log(100) - 0.1


@pytest.mark.parametrize("kind", [InfoNCE, SigLIP])
def test_mixed_precision_hardly_changes_the_contrast(kind: type[nn.Module]) -> None:
    head, loss = nn.Linear(16, 6), kind()
    sound, text, ids = vectors(0, 32, 16), vectors(1, 32), torch.arange(32) // 2
    exact = loss(head(sound), text, ids)
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(head(sound), text, ids)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-2)


@pytest.mark.parametrize("kind", [InfoNCE, SigLIP])
def test_ids_that_are_not_one_each_are_told(kind: type[nn.Module]) -> None:
    with pytest.raises(ObjectiveError, match=r"text_ids are \(3,\) for 4 texts"):
        kind()(vectors(0, 4), vectors(1, 4), torch.arange(3))


@few
@given(seed=seeds, count=st.integers(1, 6))
def test_pointwise_equals_the_slow_formula(seed: int, count: int) -> None:
    audio, text = vectors(seed, count), vectors(seed + 1, count)
    expected = 1 - sum(cosine(audio[i], text[i]) for i in range(count)) / count
    assert Pointwise()(audio, text).item() == pytest.approx(expected, abs=1e-5)


def test_pointwise_puts_recordings_where_their_reports_are_found() -> None:
    torch.manual_seed(0)
    sound, text = vectors(0, 12, 16), vectors(1, 12)
    head = nn.Linear(16, 6)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        Pointwise()(head(sound), text).backward()
        optimizer.step()
    with torch.no_grad():
        found = (nn.functional.normalize(head(sound)) @ nn.functional.normalize(text).T).argmax(dim=1)
    assert found.tolist() == list(range(12))


def test_released_loss_equals_the_slow_formula() -> None:
    audio, text = vectors(0, 9), vectors(1, 9)

    def scatter(rows: Tensor) -> Tensor:
        centred = rows.double() - rows.double().mean(dim=0)
        return torch.stack([torch.outer(row, row) for row in centred]).sum(dim=0).flatten()

    expected = 1 - cosine(scatter(audio), scatter(text))
    assert ReleasedLoss()(audio, text).item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", [Pointwise, ReleasedLoss])
def test_two_spaces_cannot_be_compared(kind: type[nn.Module]) -> None:
    with pytest.raises(ObjectiveError, match="audio has 5 dimensions, text 6"):
        kind()(vectors(0, 4, 5), vectors(1, 4))


@pytest.mark.parametrize("kind", [InfoNCE, SigLIP, Pointwise, ReleasedLoss])
def test_zero_vectors_give_finite_loss_and_gradient(kind: type[nn.Module]) -> None:
    audio = torch.zeros(6, 6, requires_grad=True)
    ids = (torch.arange(6),) if kind in (InfoNCE, SigLIP) else ()
    loss = kind()(audio, vectors(0, 6), *ids)
    loss.backward()
    assert torch.isfinite(loss)
    assert audio.grad is not None and torch.isfinite(audio.grad).all()
