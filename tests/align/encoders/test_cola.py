"""The contrast of two crops: how crops are drawn, and the loss against a slow loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from align.encoders.cola import Cola, two_crops

SEEDS = torch.tensor([3, 2**40 + 3, -8, 0])


def clips(frames: int = 256) -> Tensor:
    """Four clips whose rows are numbered: row t of clip i is i + t / 1000."""
    rows = torch.arange(4)[:, None] + torch.arange(frames)[None, :] / 1000
    return rows.unsqueeze(2).expand(-1, -1, 64)


@torch.no_grad()
def test_loss_equals_slow_loop() -> None:
    torch.manual_seed(0)
    cola = Cola(6, projection_size=5).eval()
    first, second = torch.randn(2, 7, 6)

    def project(x: Tensor) -> Tensor:
        hidden = cola.projection.weight @ x + cola.projection.bias
        normal = (hidden - hidden.mean()) / (hidden.var(correction=0) + 1e-5).sqrt()
        return torch.tanh(normal * cola.norm.weight + cola.norm.bias)

    total = 0.0
    for i in range(7):
        scores = [float((cola.bilinear.weight @ project(first[i])) @ project(second[j])) for j in range(7)]
        total -= scores[i] - math.log(sum(map(math.exp, scores)))
    assert float(cola(first, second)) == pytest.approx(total / 7, rel=1e-5)


def test_crops_of_a_clip_do_not_depend_on_its_batch() -> None:
    together = two_crops(clips(), SEEDS)
    order = torch.tensor([2, 0, 3, 1])
    apart = two_crops(clips()[order], SEEDS[order])
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one[order], other)


def test_crops_differ_by_seed_also_in_its_upper_half() -> None:
    features = clips()[:1].expand(4, -1, -1)
    first, second = two_crops(features, SEEDS)
    crops = torch.cat([first, second])
    assert len({tuple(crop[:, 0].tolist()) for crop in crops}) == 8


def test_rows_of_a_crop_follow_each_other_and_repeat_after_its_length() -> None:
    frames = 256
    for seed in range(20):
        for crop in two_crops(clips(frames)[:1], torch.tensor([seed])):
            row = crop[0, :, 0].double()
            values, counts = row.unique(return_counts=True)
            hidden = row == values[counts.argmax()]  # the clip's mean, which is no row of its own
            gain = float(values[counts.argmax()]) / (clips(frames)[0].mean().item())
            position = (row / gain * 1000).round()
            steps = position.diff()[~(hidden[1:] | hidden[:-1])]
            assert crop.shape == (1, 200, 64)
            assert 0.9 <= gain < 1.1
            assert 0.05 < hidden.double().mean() < 0.3
            back = steps[steps != 1]
            assert len(back.unique()) <= 1
            assert ((back >= -199) & (back <= -49)).all()


def test_crops_are_of_all_lengths_from_shortest_to_longest() -> None:
    features = torch.arange(40.0)[None, :, None].expand(2000, -1, 4)
    first, _ = two_crops(features, torch.arange(2000), shortest=3, longest=6)
    assert first.shape == (2000, 6, 4)
    distinct = {len(set(crop[:, 0].tolist())) for crop in first}
    assert {3, 4, 5, 6} <= distinct


def test_share_of_hidden_rows_is_that_of_the_chain() -> None:
    features = torch.arange(256.0)[None, :, None].expand(500, -1, 1)
    crops = torch.cat(two_crops(features, torch.arange(500), shortest=256, longest=256)).squeeze(2)
    gain = crops.diff(dim=1).median(dim=1, keepdim=True).values
    hidden = ((crops / gain) - 127.5).abs() < 0.01
    # P(hidden) = 0.1 + P(hidden before) (0.28 - 0.1)
    assert hidden.double().mean().item() == pytest.approx(0.1 / 0.82, abs=0.005)


def test_clip_shorter_than_the_shortest_crop_is_taken_whole() -> None:
    first, second = two_crops(clips(20), SEEDS)
    assert first.shape == second.shape == (4, 20, 64)
