"""The pairs of the past that enlarge a batch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from align.objectives import CKALoss, ObjectiveError, linear_cka


def batches(sizes: list[int], seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(size, 5, generator=generator), torch.randn(size, 3, generator=generator)) for size in sizes]


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(4, 9), min_size=1, max_size=6), queue=st.integers(1, 20), debiased=st.booleans())
def test_loss_is_that_of_the_batch_with_the_last_pairs_before_it(sizes: list[int], queue: int, debiased: bool) -> None:
    loss = CKALoss(debiased, queue, audio_size=5, text_size=3)
    past_audio, past_text = torch.zeros(0, 5), torch.zeros(0, 3)
    for audio, text in batches(sizes):
        past_audio, past_text = past_audio[-queue:], past_text[-queue:]
        past_audio, past_text = torch.cat([past_audio, audio]), torch.cat([past_text, text])
        expected = 1 - linear_cka(past_audio, past_text, debiased)
        assert loss(audio, text).item() == pytest.approx(expected.item(), abs=1e-5)


def test_only_the_batch_has_gradient() -> None:
    loss = CKALoss(queue=16, audio_size=5, text_size=3)
    (first, first_text), (second, second_text) = batches([8, 8])
    first.requires_grad_()
    second.requires_grad_()
    loss(first, first_text)
    loss(second, second_text).backward()
    assert first.grad is None
    assert second.grad is not None and second.grad.abs().sum() > 0


def test_steps_may_add_up_before_one_backward_pass() -> None:
    head = torch.nn.Linear(5, 5)
    loss = CKALoss(queue=6, audio_size=5, text_size=3)
    torch.stack([loss(head(audio), text) for audio, text in batches([4, 4, 4])]).sum().backward()
    assert torch.isfinite(head.weight.grad).all()


def test_evaluation_neither_fills_nor_uses_the_queue() -> None:
    loss = CKALoss(queue=16, audio_size=5, text_size=3)
    trained, held_out, next_one = batches([8, 8, 8])
    loss(*trained)
    before = {name: value.clone() for name, value in loss.state_dict().items()}
    assert torch.equal(loss.eval()(*held_out), CKALoss()(*held_out))
    assert all(torch.equal(value, before[name]) for name, value in loss.state_dict().items())
    assert not torch.equal(loss.train()(*next_one), CKALoss()(*next_one))


def test_queue_goes_on_from_a_checkpoint() -> None:
    first, second, third = batches([8, 6, 4])
    whole, half, resumed = (CKALoss(queue=10, audio_size=5, text_size=3) for _ in range(3))
    for loss in (whole, half):
        loss(*first)
        loss(*second)
    resumed.load_state_dict(half.state_dict())
    assert torch.equal(resumed(*third), whole(*third))


def test_queue_takes_mixed_precision() -> None:
    loss = CKALoss(queue=8, audio_size=5, text_size=3)
    for audio, text in batches([8, 8]):
        value = loss(audio.bfloat16(), text)
    assert value.dtype == torch.float32 and torch.isfinite(value)


def test_queue_without_sizes_is_told() -> None:
    with pytest.raises(ObjectiveError, match="needs audio_size and text_size"):
        CKALoss(queue=8)
