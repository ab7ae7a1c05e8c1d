"""Masks drawn from seeds, patches in order, and the loss of the hidden ones."""

from __future__ import annotations

import torch

from align.encoders.masking import cut_patches, draw_mask, keep_seen, masked_mse, put_back

CPU = torch.device("cpu")
SEEDS = torch.tensor([3, 2**40 + 3, -8])


def test_mask_hides_the_same_share_of_each_clip() -> None:
    mask = draw_mask(SEEDS, 1024, 0.7, CPU)
    assert mask.kept.shape == (3, 307)
    assert mask.hidden.sum(dim=1).tolist() == [717, 717, 717]
    assert not mask.hidden.gather(1, mask.kept).any()


def test_mask_of_a_clip_is_a_function_of_its_seed() -> None:
    together = draw_mask(SEEDS, 64, 0.5, CPU)
    alone = [draw_mask(SEEDS[i : i + 1], 64, 0.5, CPU).hidden[0] for i in range(3)]
    assert torch.equal(together.hidden, torch.stack(alone))
    assert len({tuple(row.tolist()) for row in together.hidden}) == 3


def test_every_patch_is_hidden_as_often_as_the_ratio_says() -> None:
    share = draw_mask(torch.arange(2000), 20, 0.7, CPU).hidden.double().mean(dim=0)
    assert ((share - 0.7).abs() < 0.04).all()


def test_seen_tokens_return_to_their_places() -> None:
    mask = draw_mask(SEEDS, 10, 0.6, CPU)
    tokens = torch.randn(3, 10, 4)
    filler = torch.full((1, 1, 4), 9.0)
    restored = put_back(keep_seen(tokens, mask), filler, mask)
    torch.testing.assert_close(restored, torch.where(mask.hidden.unsqueeze(2), filler, tokens))


def test_patches_are_in_order_of_time_and_then_of_frequency() -> None:
    features = torch.arange(4 * 6).reshape(1, 4, 6)
    patches = cut_patches(features, 2, 3)
    assert patches[0].tolist() == [
        [0, 1, 2, 6, 7, 8],
        [3, 4, 5, 9, 10, 11],
        [12, 13, 14, 18, 19, 20],
        [15, 16, 17, 21, 22, 23],
    ]


def test_loss_counts_hidden_patches_only() -> None:
    mask = draw_mask(SEEDS, 10, 0.6, CPU)
    truth = torch.zeros(3, 10, 4)
    guess = torch.where(mask.hidden.unsqueeze(2), 2.0, 100.0).expand(-1, -1, 4)
    assert masked_mse(guess, truth, mask).item() == 4.0
