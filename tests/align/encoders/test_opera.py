"""OPERA's encoders without weights: what they take, what they give, and what their losses train."""

from __future__ import annotations

import pytest
import torch

from align.encoders import EncoderError, EncoderSpec, build_encoder
from align.encoders.base import Encoder
from tests.align.encoders import published

SIZES = {"opera-ce": 1280, "opera-ct": 768, "opera-gt": 384}


@pytest.fixture(scope="module")
def encoders() -> dict[str, Encoder]:
    """The three encoders with random weights."""
    torch.manual_seed(0)
    return {name: build_encoder(EncoderSpec(name=name)) for name in SIZES}


@pytest.mark.parametrize("name", SIZES)
def test_waveforms_become_embeddings(name: str, encoders: dict[str, Encoder]) -> None:
    encoder = encoders[name].eval()
    assert (encoder.sample_rate_hz, encoder.clip_samples) == (16000, 130880)
    with torch.no_grad():
        features = encoder.transform(0.1 * torch.randn(2, encoder.clip_samples))
        clip, frames = encoder(features)
    assert features.shape == (2, 256, 64)
    assert clip.shape == (2, SIZES[name]) == (2, encoder.embedding_size)
    assert frames.shape[::2] == clip.shape
    assert frames.shape[1] > 1


@pytest.mark.parametrize("name", SIZES)
def test_loss_follows_seeds_and_trains_every_weight(name: str, encoders: dict[str, Encoder]) -> None:
    encoder = encoders[name].train()
    features = published.features(64, 2)
    torch.manual_seed(0)  # of dropout, which is the network's own
    loss = encoder.self_supervised_loss(features, torch.tensor([1, 2]))
    loss.backward()
    assert [key for key, weight in encoder.named_parameters() if weight.requires_grad and weight.grad is None] == []
    with torch.no_grad():
        torch.manual_seed(0)
        assert encoder.self_supervised_loss(features, torch.tensor([3, 4])) != loss


@pytest.mark.parametrize("name", ["opera-ce", "opera-ct"])
def test_moments_average_to_the_embedding(name: str, encoders: dict[str, Encoder]) -> None:
    with torch.no_grad():
        clip, frames = encoders[name].eval()(published.features(251))
    torch.testing.assert_close(frames.mean(dim=1), clip, rtol=0, atol=1e-5)


def test_moments_of_ct_are_in_order_of_time(encoders: dict[str, Encoder]) -> None:
    """A burst late in the clip moves late moments most."""
    quiet = torch.full((1, 1024, 64), 0.1)
    burst = quiet.clone()
    burst[:, 700:740] = 1.0
    with torch.no_grad():
        moved = (encoders["opera-ct"].eval()(burst).frames - encoders["opera-ct"](quiet).frames).norm(dim=2)[0]
    assert abs(int(moved.argmax()) - 720 / 32) <= 1.5


def test_moments_of_overlapping_windows_make_one_row(encoders: dict[str, Encoder]) -> None:
    with torch.no_grad():
        encoder = encoders["opera-ct"].eval()
        whole = encoder(published.features(1538))
        halves = [encoder(published.features(1538)[:, start : start + 1024]) for start in (0, 512)]
    assert whole.frames.shape == (1, 48, 768)
    torch.testing.assert_close(whole.clip, (halves[0].clip + halves[1].clip) / 2)
    torch.testing.assert_close(whole.frames[:, :16], halves[0].frames[:, :16])
    torch.testing.assert_close(whole.frames[:, 16:32], (halves[0].frames[:, 16:] + halves[1].frames[:, :16]) / 2)
    torch.testing.assert_close(whole.frames[:, 32:], halves[1].frames[:, 16:])


def test_ct_reads_one_frame_more_than_a_window(encoders: dict[str, Encoder]) -> None:
    with torch.no_grad():
        assert encoders["opera-ct"].eval()(torch.rand(1, 1025, 64)).frames.shape == (1, 32, 768)


@pytest.mark.parametrize(
    ("name", "clip_s", "message"),
    [
        ("opera-ce", 1.0, "clip_s = 1: 32 frames of 32 ms; OperaCE needs 34"),
        ("opera-gt", 10.0, "clip_s = 10: 313 frames of 32 ms; OperaGT takes 256"),
    ],
)
def test_length_of_clips_that_the_network_cannot_take_is_refused(name: str, clip_s: float, message: str) -> None:
    with pytest.raises(EncoderError, match=message):
        build_encoder(EncoderSpec(name=name, clip_s=clip_s))


@pytest.mark.parametrize(("name", "frames"), [("opera-ce", 33), ("opera-gt", 3), ("opera-gt", 257)])
def test_features_that_the_network_cannot_take_are_refused(
    name: str, frames: int, encoders: dict[str, Encoder]
) -> None:
    with pytest.raises(EncoderError, match=f"features: {frames} frames"):
        encoders[name](torch.rand(1, frames, 64))
