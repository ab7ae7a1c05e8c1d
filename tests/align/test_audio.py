"""Decoding recordings of any rate and channel count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from align.audio import load
from edge.errors import AudioError


def test_stereo_48k_is_mixed_and_resampled(tmp_path: Path) -> None:
    time = np.arange(48000) / 48000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(tmp_path / "a.wav", np.stack([tone, np.zeros_like(tone)], axis=1), 48000, subtype="FLOAT")
    samples = load(tmp_path / "a.wav", 16000)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert samples.dtype == np.float32
    assert len(samples) == 16000
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=1e-3)


@pytest.mark.parametrize("content", [None, b"", b"this is not audio" * 50])
def test_what_cannot_be_decoded_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.wav: cannot be decoded"):
        load(path, 16000)


def test_header_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 16000)
    with pytest.raises(AudioError, match="holds no samples"):
        load(tmp_path / "a.wav", 16000)


def test_nan_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, np.nan, 0.1]), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match="not finite"):
        load(tmp_path / "a.wav", 16000)
