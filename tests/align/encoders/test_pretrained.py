"""Audio encoders of transformers: their features, their embeddings, and how they learn by themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from align.encoders import EncoderSpec, build_encoder
from align.encoders.base import Encoder
from align.encoders.spans import hide
from tests.audio_models import TINY, save, sounds

KINDS = ("ast", "clap", "clap-fused", "whisper", "wav2vec2", "wavlm")
"""One of every way to listen; the others are kin of wav2vec2."""
Build = Callable[[str], Any]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    saved: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in saved:
            saved[name] = save(TINY[name], tmp_path_factory.mktemp(name))
        return saved[name]

    return get


@pytest.fixture
def build(folder: Callable[[str], Path]) -> Build:
    def built(name: str) -> Encoder:
        torch.manual_seed(1)
        checkpoint = str(folder(name))
        return build_encoder(EncoderSpec(name="transformers", checkpoint=checkpoint, clip_s=TINY[name].clip_s)).eval()

    return built


def clips(encoder: Encoder, count: int = 3) -> Tensor:
    return sounds(count, encoder.clip_samples, encoder.sample_rate_hz)


def extracted(name: str, waveform: Tensor) -> Tensor:
    """The features of transformers' own extractor, in our order of axes."""
    extractor = TINY[name].extractor
    got = extractor(list(waveform.numpy()), sampling_rate=extractor.sampling_rate, return_tensors="pt")
    features: Tensor = got[extractor.model_input_names[0]]
    if name == "whisper":
        return features.transpose(1, 2)
    return features[:, 0] if features.dim() == 4 else features


@pytest.mark.parametrize("name", KINDS)
def test_features_are_those_of_the_models_own_extractor(name: str, build: Build) -> None:
    encoder = build(name)
    silence = torch.zeros(1, encoder.clip_samples)
    # Nearly all bands of a pure tone are as weak as rounding.
    tone = torch.sin(2 * torch.pi * 440 * torch.arange(encoder.clip_samples)[None] / encoder.sample_rate_hz)
    waveform = torch.cat([clips(encoder), silence, tone])
    features = encoder.transform(waveform)
    torch.testing.assert_close(features, extracted(name, waveform).float(), atol=1e-3, rtol=0)
    assert not features.requires_grad


@pytest.mark.parametrize("name", KINDS)
def test_features_of_a_clip_depend_on_that_clip_alone(name: str, build: Build) -> None:
    encoder = build(name)
    waveform = clips(encoder)
    alone = torch.cat([encoder.transform(clip[None]) for clip in waveform])
    torch.testing.assert_close(encoder.transform(waveform), alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_features_keep_their_precision_in_a_training_of_lower_precision(name: str, build: Build) -> None:
    encoder = build(name)
    waveform = clips(encoder)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        lower = encoder.transform(waveform)
        assert torch.isfinite(encoder.self_supervised_loss(lower, torch.arange(3)))
    torch.testing.assert_close(lower, encoder.transform(waveform))


@pytest.mark.parametrize("name", TINY)
def test_moments_hold_audio_only_and_a_clip_is_their_mean(name: str, build: Build) -> None:
    encoder = build(name)
    with torch.no_grad():
        clip, frames = encoder(encoder.transform(clips(encoder)))
    assert encoder.embedding_size == 16
    assert frames.shape == (3, TINY[name].steps, 16)
    torch.testing.assert_close(clip, frames.mean(dim=1))
    assert (frames.abs().sum(dim=2) > 0).all(), "a vector of zeros is a model's own padding"


@pytest.mark.parametrize(
    ("name", "part", "moments"),
    [
        ("ast", "", lambda out: out[:, 2:].reshape(3, 2, 12, 16).mean(1)[:, :8]),
        ("clap", "audio_model", lambda out: out.mean(2).transpose(1, 2)[:, :12]),
        ("whisper", "encoder", lambda out: out[:, :45]),
        ("wav2vec2", "", lambda out: out),
        ("sew", "", lambda out: out[:, :28]),
    ],
)
def test_moments_are_what_the_model_gives_for_its_own_features(
    name: str, part: str, moments: Callable[[Tensor], Tensor], build: Build, folder: Callable[[str], Path]
) -> None:
    encoder = build(name)
    waveform = clips(encoder)
    model = transformers.AutoModel.from_pretrained(folder(name)).eval().get_submodule(part)
    features = extracted(name, waveform).float()
    if name == "whisper":
        features = features.transpose(1, 2)
    with torch.no_grad():
        out = model(features[:, None] if name == "clap" else features).last_hidden_state
        torch.testing.assert_close(encoder(encoder.transform(waveform)).frames, moments(out), atol=1e-4, rtol=0)


def test_moments_of_what_takes_samples_come_from_a_piece_too(build: Build) -> None:
    encoder = build("wav2vec2")
    waveform = clips(encoder)[:, : encoder.clip_samples // 2]
    assert encoder(encoder.transform(waveform)).frames.shape == (3, 14, 16)


def test_a_waveform_whose_padding_is_not_known_is_refused(build: Build) -> None:
    encoder = build("whisper")
    with pytest.raises(ValueError, match=r"1000 samples.*14400"):
        encoder.transform(torch.zeros(1, 1000))


@pytest.mark.parametrize("name", TINY)
def test_every_weight_that_is_trained_gets_a_gradient(name: str, build: Build) -> None:
    encoder = build(name).train()
    features = encoder.transform(clips(encoder))
    losses = {
        "clip": lambda: encoder(features).clip.square().mean(),
        "frames": lambda: encoder(features).frames.square().mean(),
        "self-supervised": lambda: encoder.self_supervised_loss(features, torch.arange(3)),
    }
    for kind, loss in losses.items():
        encoder.zero_grad()
        loss().backward()
        trained = encoder if kind == "self-supervised" else encoder.listener
        weights = {key: weight for key, weight in trained.named_parameters() if weight.requires_grad}
        assert not [key for key, weight in weights.items() if weight.grad is None], kind
        assert sum(weight.grad.abs().sum() for weight in weights.values()) > 0, kind


@pytest.mark.parametrize("name", ["clap", "conformer"])
def test_a_clip_is_the_same_in_every_batch_of_a_training(name: str, build: Build) -> None:
    encoder = build(name).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    features = encoder.transform(clips(encoder))
    with torch.no_grad():
        torch.testing.assert_close(encoder(features).clip[:1], encoder(features[:1]).clip, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", KINDS)
def test_loss_is_a_function_of_clips_and_seeds_and_not_of_batches(name: str, build: Build) -> None:
    encoder = build(name)
    features = encoder.transform(clips(encoder))
    seeds = torch.tensor([5, 2**40, 7])
    with torch.no_grad():
        loss = encoder.self_supervised_loss(features, seeds)
        alone = [encoder.self_supervised_loss(features[i : i + 1], seeds[i : i + 1]) for i in range(3)]
        torch.testing.assert_close(loss, torch.stack(alone).mean(), atol=1e-4, rtol=0)
        assert encoder.self_supervised_loss(features, seeds) == loss
        assert encoder.self_supervised_loss(features, seeds + 1) != loss


@pytest.mark.parametrize("name", KINDS)
def test_loss_is_about_one_at_first_and_falls(name: str, build: Build) -> None:
    encoder = build(name)
    features = encoder.transform(clips(encoder))
    seeds = torch.arange(3)
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(20):
        loss = encoder.self_supervised_loss(features, seeds)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert 0.5 < losses[0] < 3
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("name", ["ast", "clap", "clap-fused", "whisper", "wav2vec2"])
def test_what_is_hidden_is_hidden_wherever_the_model_would_hear_it(name: str, build: Build) -> None:
    encoder = build(name)
    listener = encoder.listener
    steps = listener.steps
    click = torch.zeros(1, encoder.clip_samples)
    click[0, round((steps // 2 + 0.5) * listener.step_samples)] = 1.0
    features = encoder.transform(click)
    masked = torch.zeros(1, steps, dtype=torch.bool)
    # A click reaches as far as the windows that it lies in.
    masked[:, steps // 2 - 2 : steps // 2 + 3] = True
    # The zeros behind AST's frames are no silence.
    heard = features.shape[1] if name != "ast" else 88
    assert features[:, :heard].std(dim=1).max() > 1e-3
    assert hide(features, masked, listener.place)[:, :heard].std(dim=1).max() < 1e-6
