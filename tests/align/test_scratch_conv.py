"""The small encoder and its features: shapes, and what they mind and do not mind."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor
from torchaudio.transforms import MelSpectrogram

from align.encoders import EncoderError, EncoderSpec, build_encoder
from align.encoders.base import Encoder
from align.encoders.log_mel import ClipLogMel, SpecAugment

RATE = 4000


def encoder(**spec: float) -> Encoder:
    torch.manual_seed(0)
    return build_encoder(
        EncoderSpec.model_validate({"name": "scratch-conv", "sample_rate_hz": RATE, "clip_s": 2.0} | spec)
    )


def waveforms(count: int = 4, samples: int = 2 * RATE) -> Tensor:
    return 0.2 * torch.randn(count, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("rate_hz", "bands"), [(1000, 32), (4000, 32), (8000, 64), (16000, 64), (48000, 64)])
def test_features_are_40_frames_a_second_of_bands_that_all_hear_something(rate_hz: int, bands: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torchaudio warns of a band that holds no bin of the transform
        log_mel = ClipLogMel(rate_hz)
    features = log_mel(waveforms(2, rate_hz))
    assert features.shape == (2, bands, 41)
    torch.testing.assert_close(features.mean(dim=(1, 2)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(dim=(1, 2)), torch.ones(2), atol=1e-4, rtol=0)


@pytest.mark.parametrize("rate_hz", [2000, 11_025, 16_000])
def test_power_is_that_of_torchaudio(rate_hz: int) -> None:
    log_mel, clips = ClipLogMel(rate_hz), 0.1 * torch.randn(3, 2 * rate_hz)
    theirs = MelSpectrogram(
        rate_hz,
        n_fft=log_mel.fft,
        win_length=len(log_mel.window),
        hop_length=log_mel.hop,
        f_min=20.0,
        f_max=min(8000.0, rate_hz / 2),
        n_mels=log_mel.bands,
    )
    torch.testing.assert_close(log_mel.power(clips), theirs(clips), rtol=1e-4, atol=1e-6)


def test_silence_and_a_constant_give_finite_features_and_silence_gives_zeros() -> None:
    features = ClipLogMel(RATE)(torch.stack([torch.zeros(RATE), torch.full((RATE,), 0.5)]))
    assert features.isfinite().all()
    # The mean of equal numbers is rounded.
    assert features[0].abs().max() < 0.01


def test_features_of_a_clip_do_not_depend_on_its_batch() -> None:
    log_mel, batch = ClipLogMel(RATE), waveforms()
    batch[1] *= 100
    torch.testing.assert_close(log_mel(batch)[2:3], log_mel(batch[2:3]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("gain", [0.1, 5.0])
def test_features_do_not_depend_on_the_gain(gain: float) -> None:
    log_mel, batch = ClipLogMel(RATE), waveforms()
    torch.testing.assert_close(log_mel(gain * batch), log_mel(batch), atol=0.01, rtol=0)


def test_features_are_32_bit_in_mixed_precision_and_carry_no_gradient() -> None:
    batch = waveforms().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = ClipLogMel(RATE)(batch)
    assert features.dtype == torch.float32
    assert not features.requires_grad
    torch.testing.assert_close(features, ClipLogMel(RATE)(batch))


def test_masks_leave_the_clip_s_mean_behind_in_whole_bands_and_moments() -> None:
    torch.manual_seed(0)
    features = waveforms(20, 32 * 80).reshape(20, 32, 80) + 10
    augmented = SpecAugment(32, 80)(features)
    assert augmented.shape == features.shape
    hidden = augmented == 0
    bands, moments = hidden.all(dim=2), hidden.all(dim=1)
    assert torch.equal(hidden, bands.unsqueeze(2) | moments.unsqueeze(1))
    assert 0 < bands.sum(dim=1).float().mean() < 4
    assert 0 < moments.sum(dim=1).float().mean() < 6.2
    assert len({tuple(row) for row in bands.tolist()}) > 5, "each clip has masks of its own"


def test_tilt_is_a_slope_over_the_bands_of_each_clip() -> None:
    torch.manual_seed(0)
    added = SpecAugment(33, 80)(torch.full((6, 33, 80), 10.0)) - 10.0
    for clip in added:
        seen = clip > -9
        column = torch.where(seen, clip, torch.nan).nanmedian(dim=1).values
        slope = column[~column.isnan()].diff()
        assert slope.std() < 0.05
    assert added[:, -1].median(dim=1).values.std() > 0.01


def test_encoder_gives_a_vector_a_clip_and_a_vector_a_moment() -> None:
    model = encoder().eval()
    encoded = model(model.transform(waveforms()))
    assert model.clip_samples == 2 * RATE
    assert encoded.clip.shape == (4, model.embedding_size)
    assert encoded.frames.shape == (4, 6, model.embedding_size)
    assert sum(parameter.numel() for parameter in model.parameters()) < 600_000


@pytest.mark.parametrize("frames", [1, 2, 15, 81, 400])
def test_any_number_of_frames_is_embedded(frames: int) -> None:
    encoded = encoder().eval()(torch.randn(2, 32, frames))
    assert encoded.clip.isfinite().all()
    assert encoded.frames.shape[:2] == (2, -(-frames // 16))


def test_embedding_of_a_clip_does_not_depend_on_its_batch() -> None:
    model = encoder().eval()
    features = model.transform(waveforms())
    torch.testing.assert_close(model(features).clip[1:2], model(features[1:2]).clip, atol=1e-5, rtol=1e-4)


def test_gradient_reaches_every_weight() -> None:
    model = encoder().train()
    features = model.transform(waveforms())
    encoded = model(model.augment(features))
    loss = encoded.clip.square().mean() + encoded.frames.square().mean()
    (loss + model.self_supervised_loss(features, torch.arange(4))).backward()
    without = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not without


def test_self_supervised_loss_is_a_function_of_the_seeds() -> None:
    model = encoder().eval()
    features = model.transform(waveforms())
    loss = [model.self_supervised_loss(features, torch.arange(first, first + 4)).item() for first in (0, 0, 50)]
    assert loss[0] == loss[1] != loss[2]


def test_self_supervised_loss_can_be_learnt() -> None:
    model = encoder().train()
    tones = torch.sin(torch.arange(2 * RATE) * torch.linspace(0.1, 1.5, 8)[:, None])
    features = model.transform(waveforms(8) + tones)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for step in range(40):
        loss = model.self_supervised_loss(features, torch.arange(8) + 100 * step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"checkpoint": "weights.pt"}, "^weights.pt: scratch-conv has no published weights; leave the checkpoint out$"),
        ({"clip_s": 0.05}, r"^encoder\.clip_s = 0\.05: scratch-conv hears at least 0\.25 seconds$"),
    ],
)
def test_specification_that_cannot_be_built_is_one_line(spec: dict[str, object], told: str) -> None:
    with pytest.raises(EncoderError, match=told):
        build_encoder(EncoderSpec.model_validate({"name": "scratch-conv", **spec}))


def test_shortest_clip_that_is_allowed_can_be_trained_on() -> None:
    model = encoder(clip_s=0.25).train()
    features = model.transform(waveforms(4, RATE // 4))
    assert model(model.augment(features)).clip.isfinite().all()
    assert model.self_supervised_loss(features, torch.arange(4)).isfinite()
