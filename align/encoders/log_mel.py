"""Log-mel of whole batches for encoders that bring no transform of their own, scaled to the sample rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchaudio.transforms import FrequencyMasking, MelSpectrogram, TimeMasking

WINDOW_S, HOP_S = 0.050, 0.025
LOWEST_HZ, HIGHEST_HZ = 20.0, 8000.0
FEW_BANDS, MANY_BANDS = 32, 64
NARROW_HZ = 4000
"""Up to this sample rate, that of a stethoscope, `FEW_BANDS` are enough."""

FLOOR = 1e-8
TILT = 0.2
"""Standard deviation of a random slope over the bands, in standard deviations of the clip."""


class ClipLogMel(nn.Module):
    """Waveform (batch, samples) to log-mel (batch, bands, frames), each clip with mean 0 and standard deviation 1."""

    def __init__(self, sample_rate_hz: int) -> None:
        super().__init__()
        window = round(WINDOW_S * sample_rate_hz)
        self.bands = FEW_BANDS if sample_rate_hz <= NARROW_HZ else MANY_BANDS
        self.hop = round(HOP_S * sample_rate_hz)
        self.mel = MelSpectrogram(
            sample_rate_hz,
            n_fft=2 ** (2 * window - 1).bit_length(),
            win_length=window,
            hop_length=self.hop,
            f_min=LOWEST_HZ,
            f_max=min(HIGHEST_HZ, sample_rate_hz / 2),
            n_mels=self.bands,
        )

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """Return float32 whatever the surrounding precision; silence becomes zeros."""
        with torch.autocast(waveform.device.type, enabled=False):
            level = torch.log(self.mel(waveform.float()) + FLOOR)
            mean = level.mean(dim=(1, 2), keepdim=True)
            scale = level.std(dim=(1, 2), keepdim=True)
            normalised: Tensor = (level - mean) / scale.clamp(min=1e-3)
        return normalised


class SpecAugment(nn.Module):
    """Masks of bands and moments (Park et al., arXiv 1904.08779) and a random tilt, drawn for each clip.

    Input and output (batch, bands, frames) with mean 0, which is also what a mask leaves behind.
    """

    def __init__(self, bands: int, frames: int) -> None:
        super().__init__()
        self.mask_bands = FrequencyMasking(max(1, bands // 8), iid_masks=True)
        self.mask_time = TimeMasking(max(1, frames // 13), iid_masks=True)
        self.slope: Tensor
        self.register_buffer("slope", torch.linspace(-1.0, 1.0, bands).reshape(1, bands, 1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Draw from torch's generator."""
        tilt = TILT * torch.randn(len(features), 1, 1, device=features.device)
        tilted = features + tilt * self.slope
        masked: Tensor = self.mask_time(self.mask_bands(tilted.unsqueeze(1))).squeeze(1)
        return masked
