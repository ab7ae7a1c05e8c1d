"""Log-mel of whole batches for encoders that bring no transform of their own, scaled to the sample rate."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import FrequencyMasking, TimeMasking

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
        frame = round(WINDOW_S * sample_rate_hz)
        self.bands = FEW_BANDS if sample_rate_hz <= NARROW_HZ else MANY_BANDS
        self.hop = round(HOP_S * sample_rate_hz)
        self.fft = 2 ** (2 * frame - 1).bit_length()
        filters = melscale_fbanks(
            self.fft // 2 + 1, LOWEST_HZ, min(HIGHEST_HZ, sample_rate_hz / 2), self.bands, sample_rate_hz
        )
        self.window: Tensor
        self.filters: Tensor
        self.register_buffer("window", torch.hann_window(frame))
        self.register_buffer("filters", filters)

    @torch.no_grad()
    def forward(self, waveform: Tensor) -> Tensor:
        """Return float32 whatever the surrounding precision; silence becomes zeros."""
        with torch.autocast(waveform.device.type, enabled=False):
            # The frames of one clip fit into a processor's cache, those of a batch do not: eight times as fast.
            parts = torch.split(waveform.float(), 1) if waveform.device.type == "cpu" else [waveform.float()]
            level = torch.log(torch.cat([self.power(part) for part in parts]) + FLOOR)
            mean = level.mean(dim=(1, 2), keepdim=True)
            scale = level.std(dim=(1, 2), keepdim=True)
            normalised: Tensor = (level - mean) / scale.clamp(min=1e-3)
        return normalised

    def power(self, waveform: Tensor) -> Tensor:
        """Mel power (clips, bands, frames) of waveforms (clips, samples).

        Frames are centred, and a clip is mirrored at its ends, so it has to be longer than half a frame.
        """
        margin = (len(self.window) + 1) // 2
        padded = F.pad(waveform.unsqueeze(1), (margin, margin), mode="reflect").squeeze(1)
        frames = padded.unfold(1, len(self.window), self.hop)[:, : 1 + waveform.shape[1] // self.hop]
        spectrum = torch.fft.rfft(frames * self.window, n=self.fft)
        # Added as two tensors: a sum over pairs of numbers takes twice as long as the Fourier transform itself.
        energy = spectrum.real.square() + spectrum.imag.square()
        power: Tensor = (energy @ self.filters).transpose(1, 2)
        return power


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
