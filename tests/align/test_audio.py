"""Decoding recordings of any rate and channel count."""

from __future__ import annotations

from pathlib import Path

import av
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


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_file_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 32000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioError, match=rf"a\.{suffix}: (cut short|cannot be decoded)"):
        load(path, 16000)


def test_wav_of_a_program_that_wrote_to_a_pipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.full(16000, 0.25), 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    assert len(load(path, 16000)) == 16000


def write_webm(path: Path, samples: np.ndarray) -> None:
    """Stereo Opus at 48 kHz, as browsers record; `samples` (frames, 2)."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libopus", rate=48000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32).reshape(1, -1), format="flt", layout="stereo")
        frame.sample_rate = 48000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


def test_webm_of_a_browser_is_decoded_mixed_and_resampled(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    write_webm(tmp_path / "a.webm", np.stack([tone, np.zeros_like(tone)], axis=1))
    samples = load(tmp_path / "a.webm", 16000)
    assert abs(len(samples) - 16000) < 400
    spectrum = np.abs(np.fft.rfft(samples[4000:12000]))
    assert np.argmax(spectrum) * 2 == pytest.approx(440, abs=4)
    assert np.abs(samples[4000:12000]).max() == pytest.approx(0.25, abs=0.05)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>" * 100])
def test_webm_that_is_none_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.webm").write_bytes(content)
    with pytest.raises(AudioError, match=r"a\.webm: cannot be decoded"):
        load(tmp_path / "a.webm", 16000)


def encoded(path: Path, codec: str, rate: int, layout: str) -> bytes:
    """A second of noise, as a stream that can be put behind another."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2 if layout == "stereo" else 1, rate)).astype(np.float32)
    frame = av.AudioFrame.from_ndarray(noise, format="fltp", layout=layout)
    frame.sample_rate = rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        (converted,) = av.AudioResampler(format=stream.format.name).resample(frame)
        for packet in (*stream.encode(converted), *stream.encode(None)):
            container.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("codec", "rate", "layout"), [("aac", 16000, "stereo"), ("aac", 32000, "mono"), ("flac", 16000, "stereo")]
)
def test_file_that_changes_on_the_way_is_refused(tmp_path: Path, codec: str, rate: int, layout: str) -> None:
    first = encoded(tmp_path / f"1.{codec}", codec, 16000, "mono")
    (tmp_path / "a.m4a").write_bytes(first + encoded(tmp_path / f"2.{codec}", codec, rate, layout))
    with pytest.raises(
        AudioError, match=rf"a\.m4a: changes from 16000 Hz mono \w+ to {rate} Hz {layout} \w+ on the way"
    ):
        load(tmp_path / "a.m4a", 16000)


def test_name_too_long_for_the_file_system_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"a\.wav: cannot be decoded"):
        load(tmp_path / f"{'a' * 300}.wav", 16000)


def test_raw_samples_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(bytes(3200))
    with pytest.raises(AudioError, match=r"x\.raw: raw samples, of which nothing says the rate"):
        load(tmp_path / "x.raw", 16_000)
