"""OPERA's features: librosa's mel spectrogram in decibels, scaled to [0, 1] clip by clip, for batches on any device.

The numbers are those of OPERA's preparation with librosa 0.10.1, whose frames are centred and whose edges are padded
with zeros. It neither trims silence nor repeats short recordings, which OPERA does before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio import functional as A

SAMPLE_RATE_HZ = 16000
FRAME_SAMPLES = 1024
HOP_SAMPLES = 512
BANDS = 64
LOW_HZ, HIGH_HZ = 50.0, 8000.0
LEAST_POWER = 1e-10
RANGE_DB = 80.0


def frame_count(samples: int) -> int:
    """Frames of a waveform: 130560 to 131071 samples, such as 8.18 s, have 256."""
    return 1 + samples // HOP_SAMPLES


class OperaFeatures(nn.Module):
    """Waveforms to features. It has nothing to learn and nothing to save."""

    def __init__(self) -> None:
        super().__init__()
        filters = A.melscale_fbanks(
            FRAME_SAMPLES // 2 + 1, LOW_HZ, HIGH_HZ, BANDS, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )
        self.register_buffer("window", torch.hann_window(FRAME_SAMPLES), persistent=False)
        self.register_buffer("filters", filters, persistent=False)

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """Features of waveforms.

        ```
        level = 10 log10(max(mel power, 1e-10)), less its maximum over the clip, and at least -80
        features = (level - min) / (max - min) over the clip; 0 where all levels are equal, as in silence
        ```

        Args:
            waveform: (batch, samples) in [-1, 1], 16 kHz.

        Returns:
            (batch, frames, 64) float32, low bands first.
        """
        # Sums of squares over 80 dB do not fit the half precisions that a training may ask for.
        with torch.autocast(waveform.device.type, enabled=False):
            power = A.spectrogram(
                waveform.float(),
                pad=0,
                window=self.window,
                n_fft=FRAME_SAMPLES,
                hop_length=HOP_SAMPLES,
                win_length=FRAME_SAMPLES,
                power=2.0,
                normalized=False,
                pad_mode="constant",
            )
            level = power.transpose(1, 2) @ self.filters
        level.clamp_(min=LEAST_POWER).log10_().mul_(10.0)
        level.sub_(level.amax(dim=(1, 2), keepdim=True)).clamp_(min=-RANGE_DB)
        lowest = level.amin(dim=(1, 2), keepdim=True)
        # The highest is 0, so this is (level - lowest) / (0 - lowest).
        return torch.where(lowest < 0, 1.0 - level / lowest, 0.0)
