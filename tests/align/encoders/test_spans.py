"""Spans of time that are hidden, and what must be told of them."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from align.encoders.spans import hide, moments, span_error, span_mask


@given(seed=st.integers(-(2**63), 2**63 - 1), steps=st.integers(2, 60), span=st.integers(1, 80))
def test_something_is_hidden_and_something_is_not(seed: int, steps: int, span: int) -> None:
    mask = span_mask(torch.tensor([seed]), steps, span)
    assert mask.shape == (1, steps)
    assert mask.any()
    assert not mask.all()


def test_a_mask_belongs_to_its_seed() -> None:
    masks = span_mask(torch.tensor([3, 9, 3, 3 + 2**40]), 40, 5)
    assert torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[3]), "half of the seed counts for nothing"


def test_about_half_is_hidden_in_whole_spans() -> None:
    masks = span_mask(torch.arange(200), 100, 10)
    assert 0.4 < masks.float().mean() < 0.55
    inside = masks[:, 10:-10]
    lone = inside[:, 1:-1] & ~inside[:, :-2] & ~inside[:, 2:]
    assert not lone.any(), "a span of one step"


def test_every_step_is_hidden_at_times() -> None:
    share = span_mask(torch.arange(2000), 20, 4).float().mean(dim=0)
    assert share.min() > 0.3
    assert share.max() < 0.6


def test_hidden_moments_become_the_mean_of_what_can_be_heard() -> None:
    features = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [7.0, 70.0], [100.0, 100.0]]])
    place = torch.tensor([0, 1, 2, 3])
    hidden = hide(features, torch.tensor([[False, False, True]]), place)
    assert hidden.tolist() == [[[1.0, 10.0], [3.0, 30.0], [2.0, 20.0], [100.0, 100.0]]]


def test_hidden_samples_become_their_mean() -> None:
    hidden = hide(torch.tensor([[1.0, 2.0, 3.0, 9.0]]), torch.tensor([[False, True]]), torch.tensor([0, 0, 0, 1]))
    assert hidden.tolist() == [[1.0, 2.0, 3.0, 2.0]]


def test_moments_are_means_over_time_standardised_over_the_clip() -> None:
    log_mel = torch.tensor([[[0.0], [2.0], [4.0], [6.0], [1.0], [1.0], [9.0], [9.0]]])
    means = torch.tensor([[[1.0, 5.0], [1.0, 9.0]]])
    torch.testing.assert_close(moments(log_mel, steps=2, detail=2), (means - 4.0) / 11**0.5)


def test_silence_has_nothing_to_tell() -> None:
    assert moments(torch.full((1, 6, 3), -13.8), 3, 1).abs().max() < 1e-3


def test_error_counts_hidden_steps_only_and_every_clip_the_same() -> None:
    told = torch.tensor([[[1.0], [5.0], [5.0]], [[2.0], [2.0], [5.0]]])
    masked = torch.tensor([[True, False, False], [True, True, False]])
    assert span_error(told, torch.zeros(2, 3, 1), masked) == (1.0 + 4.0) / 2
