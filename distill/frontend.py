"""Log-mel front-end: one definition for training and for the device.

The DFT is a fixed 1-D convolution because ONNX's STFT operator cannot be imported by TensorRT before 10.5 and is ten
times slower on a CPU. Frames are left-aligned, without centring, padding or per-clip normalisation, so a frame depends
on its own samples alone and a stream gives the same frames as the whole recording. It does no resampling.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edge.bundle import FrontEnd

OPSET = 17
"""The highest that TensorRT 8.5 to 11 all accept."""


def mel_filters(front_end: FrontEnd) -> NDArray[np.float64]:
    """Triangular mel filters with peak 1, shape (mel_bands, frame_samples // 2 + 1).

    The mel scale is Slaney's (Auditory Toolbox, 1998): linear to 1 kHz, logarithmic above. With 400-sample frames the
    DFT bins are 40 Hz apart, and the HTK scale would leave the lowest bands without a single bin.
    """
    hertz_per_mel, break_hz, log_step = 200.0 / 3.0, 1000.0, np.log(6.4) / 27.0
    break_mel = break_hz / hertz_per_mel

    def to_mel(hertz: float) -> float:
        if hertz < break_hz:
            return hertz / hertz_per_mel
        return float(break_mel + np.log(hertz / break_hz) / log_step)

    mels = np.linspace(to_mel(front_end.low_hz), to_mel(front_end.high_hz), front_end.mel_bands + 2)
    edges = np.where(mels < break_mel, mels * hertz_per_mel, break_hz * np.exp(log_step * (mels - break_mel)))
    bins = np.fft.rfftfreq(front_end.frame_samples, 1.0 / front_end.sample_rate_hz)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return np.asarray(np.maximum(0.0, np.minimum(rising, falling)))


def reference_log_mel(waveform: NDArray[np.floating], front_end: FrontEnd) -> NDArray[np.float64]:
    """The same transform in float64 with numpy's FFT: slow, obvious, and what the module is tested against.

    Args:
        waveform: (samples,) in [-1, 1].

    Returns:
        (mel_bands, frames).
    """
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float64), front_end.frame_samples)
    spectrum = np.fft.rfft(frames[:: front_end.hop_samples] * _hann(front_end.frame_samples), axis=1)
    return np.asarray(np.log(mel_filters(front_end) @ (np.abs(spectrum) ** 2).T + front_end.log_offset))


def _hann(length: int) -> NDArray[np.float64]:
    """Periodic Hann window, as used for spectral analysis."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length))


class LogMel(nn.Module):
    """Waveform (batch, samples) in [-1, 1] to log-mel (batch, mel_bands, frames), float32, with nothing to train."""

    dft: Tensor
    mel: Tensor

    def __init__(self, front_end: FrontEnd) -> None:
        super().__init__()
        self.front_end = front_end
        length = front_end.frame_samples
        angle = 2 * np.pi * np.outer(np.arange(length // 2 + 1), np.arange(length)) / length
        kernels = np.concatenate([np.cos(angle), -np.sin(angle)]) * _hann(length)
        self.register_buffer("dft", torch.tensor(kernels[:, None, :], dtype=torch.float32), persistent=False)
        self.register_buffer("mel", torch.tensor(mel_filters(front_end), dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Map (batch, samples) to (batch, mel_bands, 1 + (samples - frame_samples) // hop_samples)."""
        spectrum = nn.functional.conv1d(waveform.unsqueeze(1), self.dft, stride=self.front_end.hop_samples)
        real, imaginary = spectrum.chunk(2, dim=1)
        return torch.log(torch.matmul(self.mel, real.square() + imaginary.square()) + self.front_end.log_offset)


def export_frontend(path: Path, front_end: FrontEnd, window_samples: int, *, free_batch: bool = False) -> None:
    """Write the front-end as ONNX, float32, with any number of samples as input, and of windows if `free_batch`."""
    batch = {0: "batch"} if free_batch else {}
    torch.onnx.export(
        LogMel(front_end).eval(),
        (torch.zeros(1, window_samples),),
        str(path),
        dynamo=False,
        opset_version=OPSET,
        input_names=["waveform"],
        output_names=["log_mel"],
        dynamic_axes={"waveform": {1: "samples"} | batch, "log_mel": {2: "frames"} | batch},
    )
