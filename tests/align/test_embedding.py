"""Embeddings of recordings: every sample is heard, and neither neighbours nor the batch matter."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from align.embedding import embed_recordings, starts
from align.encoders import EncoderSpec, build_encoder
from align.encoders.base import Encoded, Encoder
from tests.recordings import clips_of, noise

CPU = torch.device("cpu")


class Listener(Encoder):
    """Mean and mean square of a clip, and a memory of the modes in which it was asked."""

    sample_rate_hz, clip_samples, embedding_size = 1000, 100, 2

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[bool] = set()

    def transform(self, waveform: Tensor) -> Tensor:
        return waveform

    def forward(self, features: Tensor) -> Encoded:
        self.asked.add(self.training)
        both = torch.stack([features.mean(dim=1), features.square().mean(dim=1)], dim=1)
        return Encoded(both, both.unsqueeze(1))

    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:  # noqa: ARG002 - the protocol has them
        return features.mean()


@pytest.mark.parametrize("samples", [100, 101, 149, 150, 151, 200, 777])
def test_clips_cover_a_recording_and_lie_at_least_half_over_each_other(samples: int) -> None:
    begun = starts(samples, 100)
    heard = np.zeros(samples, int)
    for start in begun:
        assert 0 <= start <= samples - 100
        heard[start : start + 100] += 1
    assert heard.min() >= 1
    assert len(set(begun)) == len(begun)
    assert max(np.diff(begun), default=0) <= 50


def test_recording_shorter_than_a_clip_is_one_clip() -> None:
    assert starts(5, 100) == starts(100, 100) == [0]


def test_embedding_is_the_mean_over_the_clips_of_a_recording() -> None:
    samples = noise(230)
    (found,) = embed_recordings(Listener(), clips_of([samples]), CPU)
    pieces = [samples[start : start + 100] / 32768.0 for start in (0, 50, 100, 130)]
    expected = [np.mean([piece.mean() for piece in pieces]), np.mean([(piece**2).mean() for piece in pieces])]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_short_recording_is_heard_again_from_its_beginning() -> None:
    samples = noise(70)
    (found,) = embed_recordings(Listener(), clips_of([samples]), CPU)
    heard = np.concatenate([samples, samples[:30]]) / 32768.0
    np.testing.assert_allclose(found, [heard.mean(), (heard**2).mean()], rtol=1e-5)


def test_recordings_of_more_clips_than_a_batch_are_not_mixed_up() -> None:
    recordings = [noise(length, length) for length in (4000, 30, 100, 9000, 51)]
    together = embed_recordings(Listener(), clips_of(recordings), CPU)
    alone = [embed_recordings(Listener(), clips_of([samples]), CPU)[0] for samples in recordings]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    assert together.dtype == np.float32


@pytest.mark.parametrize("training", [True, False])
def test_encoder_is_asked_in_evaluation_and_comes_back_in_its_mode(training: bool) -> None:
    encoder = Listener().train(training)
    embed_recordings(encoder, clips_of([noise(300)]), CPU)
    assert encoder.asked == {False}
    assert encoder.training is training


def test_real_encoder_gives_the_same_twice_and_keeps_its_statistics() -> None:
    torch.manual_seed(0)
    encoder = build_encoder(EncoderSpec(name="scratch-conv", sample_rate_hz=4000, clip_s=1.0)).train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    clips = clips_of([noise(9000), noise(2500, 1)])
    first, second = (embed_recordings(encoder, clips, CPU) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == (2, encoder.embedding_size)
    assert all(torch.equal(before[name], value) for name, value in encoder.state_dict().items())
