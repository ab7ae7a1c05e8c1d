"""The front-end is what training and device share: its numbers, and that a stream gives what the whole gives."""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.frontend import LogMel, export_frontend, mel_filters, reference_log_mel
from edge.bundle import FrontEnd
from edge.windows import Windower

FRONT_END = FrontEnd()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> onnxruntime.InferenceSession:
    path = tmp_path_factory.mktemp("frontend") / "frontend.onnx"
    export_frontend(path, FRONT_END, 32000)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def sounds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    time = np.arange(32000) / 16000
    return {
        "noise": (0.1 * rng.standard_normal(32000)).astype(np.float32),
        "loud tone": np.sin(2 * np.pi * 997 * time).astype(np.float32),
        "quiet noise": (1e-4 * rng.standard_normal(32000)).astype(np.float32),
        "silence": np.zeros(32000, dtype=np.float32),
        "click": np.eye(1, 32000, 16000, dtype=np.float32)[0],
    }


@pytest.mark.parametrize("name", sounds())
def test_module_and_export_agree_with_float64_reference(name: str, exported: onnxruntime.InferenceSession) -> None:
    waveform = sounds()[name]
    reference = reference_log_mel(waveform, FRONT_END)
    module = LogMel(FRONT_END)(torch.from_numpy(waveform[None])).numpy()[0]
    (device,) = exported.run(None, {"waveform": waveform[None]})
    assert module.shape == reference.shape == (64, 198)
    # 52 dB and more below the loudest band of a full-scale tone lies the rounding of float32, on any implementation.
    heard = reference > reference.max(axis=0) - 12.0
    for log_mel in (module, device[0]):
        error = np.abs(log_mel - reference)
        assert error[heard].max() <= 1e-4
        assert error.max() <= (2e-3 if name == "loud tone" else 1e-4)


def test_auscultation_numbers_agree_with_reference() -> None:
    front_end = FrontEnd(sample_rate_hz=4000, frame_samples=160, hop_samples=40, mel_bands=32, low_hz=20, high_hz=1000)
    waveform = (0.1 * np.random.default_rng(1).standard_normal(8000)).astype(np.float32)
    module = LogMel(front_end)(torch.from_numpy(waveform[None])).numpy()[0]
    assert np.abs(module - reference_log_mel(waveform, front_end)).max() <= 1e-4


def test_every_mel_band_hears_something() -> None:
    filters = mel_filters(FRONT_END)
    assert filters.shape == (64, 201)
    assert (filters.max(axis=1) > 0.1).all()


def test_tone_peaks_in_the_band_around_it() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    band = int(reference_log_mel(tone, FRONT_END).mean(axis=1).argmax())
    assert mel_filters(FRONT_END)[band, 25] == mel_filters(FRONT_END)[:, 25].max()


def test_gain_shifts_log_mel_and_nothing_else() -> None:
    noise = 0.1 * np.random.default_rng(2).standard_normal(16000)
    shift = reference_log_mel(noise, FRONT_END) - reference_log_mel(0.5 * noise, FRONT_END)
    np.testing.assert_allclose(shift, np.log(4), atol=1e-2)


@settings(max_examples=40, deadline=None)
@given(chunks=st.lists(st.integers(1, 5000), min_size=1, max_size=40), hop_frames=st.sampled_from([25, 50, 99, 198]))
def test_any_chunking_gives_the_frames_of_the_whole_bit_for_bit(
    exported: onnxruntime.InferenceSession, chunks: list[int], hop_frames: int
) -> None:
    waveform = sounds()["noise"]
    (whole,) = exported.run(None, {"waveform": np.tile(waveform, 2)[None]})
    windower = Windower(32000, hop_frames * FRONT_END.hop_samples)
    seen, position, sizes = 0, 0, itertools.cycle(chunks)
    stream = np.tile(waveform, 2)
    while position < len(stream):
        size = next(sizes)
        for window in windower.push(stream[position : position + size]):
            first = window.start // FRONT_END.hop_samples
            (log_mel,) = exported.run(None, {"waveform": window.samples[None]})
            assert np.array_equal(log_mel[0], whole[0, :, first : first + 198])
            seen += 1
        position += size
    assert seen == (64000 - 32000) // (hop_frames * FRONT_END.hop_samples) + 1
