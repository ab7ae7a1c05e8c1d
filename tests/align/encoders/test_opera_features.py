"""OPERA's features against librosa's formulas, written out in float64 with NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.signal import get_window

from align.encoders.opera_features import OperaFeatures, frame_count

SAMPLES = 130880  # 8.18 s


def sounds() -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    time = np.arange(SAMPLES) / 16000
    return {
        "noise": (0.1 * rng.standard_normal(SAMPLES)).astype(np.float32),
        "breaths": (np.sin(np.pi * time / 2) ** 4 * rng.standard_normal(SAMPLES) / 10).astype(np.float32),
        "quiet noise": (1e-6 * rng.standard_normal(SAMPLES)).astype(np.float32),
        "tone": np.sin(2 * np.pi * 440 * time).astype(np.float32),
        "click": np.eye(1, SAMPLES, 700, dtype=np.float32)[0],
    }


def mel_to_hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale: 200 / 3 Hz a mel up to 1 kHz, and 27 steps for each factor of 6.4 above."""
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(np.log(6.4) / 27 * (mel - 15)))


def mel_filters() -> NDArray[np.float64]:
    lowest, highest = 50 * 3 / 200, 15 + 27 * np.log(8) / np.log(6.4)
    edges = mel_to_hertz(np.linspace(lowest, highest, 66))
    bins = np.linspace(0, 8000, 513)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0, np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)))
    return triangles * 2 / (high - low)


def reference(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    padded = np.pad(waveform.astype(np.float64), 512)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::512] * get_window("hann", 1024)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2 @ mel_filters().T
    level = 10 * np.log10(np.maximum(1e-10, power)) - 10 * np.log10(max(1e-10, power.max()))
    level = np.maximum(level, level.max() - 80)
    return (level - level.min()) / (level.max() - level.min()) if level.max() > level.min() else level


@pytest.mark.parametrize("name", sounds())
def test_features_equal_librosa_formulas(name: str) -> None:
    waveform = sounds()[name]
    own = OperaFeatures()(torch.from_numpy(waveform)[None])[0].numpy()
    assert own.shape == (256, 64)
    np.testing.assert_allclose(own, reference(waveform), rtol=0, atol=1e-3)


@pytest.mark.parametrize(("samples", "frames"), [(130559, 255), (130560, 256), (131000, 256), (131071, 256), (160, 1)])
def test_frames_are_centred_on_every_512th_sample(samples: int, frames: int) -> None:
    assert OperaFeatures()(torch.randn(1, samples)).shape == (1, frames, 64)
    assert frame_count(samples) == frames


def test_silent_clip_gives_zeros() -> None:
    features = OperaFeatures()(torch.zeros(1, 16000))
    assert torch.equal(features, torch.zeros(1, 32, 64))


def test_features_of_a_clip_do_not_depend_on_its_batch() -> None:
    loud, quiet, silent = torch.randn(16000), 1e-3 * torch.randn(16000), torch.zeros(16000)
    together = OperaFeatures()(torch.stack([loud, quiet, silent]))
    alone = torch.cat([OperaFeatures()(clip[None]) for clip in (loud, quiet, silent)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-6)


def test_features_are_float32_and_without_gradient_in_a_half_precision_training() -> None:
    waveform = torch.randn(1, 16000, requires_grad=True)
    exact = OperaFeatures()(waveform.detach())
    with torch.autocast("cpu", torch.bfloat16):
        features = OperaFeatures()(waveform)
    assert not features.requires_grad
    torch.testing.assert_close(features, exact)


def test_transform_saves_nothing_in_checkpoints() -> None:
    assert not OperaFeatures().state_dict()
