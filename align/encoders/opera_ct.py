"""OPERA-CT: HTS-AT, a Swin-T on a folded spectrogram, trained by COLA.

HTS-AT (Chen et al., arXiv 2202.00874) stretches a clip to 1024 frames and stacks its four quarters to one picture of
256 x 256, which a Swin transformer reads; the transformer is timm's. A clip of more than 1024 frames (32.8 s) is read
in windows of 1024, 512 apart, and a rest that fills no window is not heard; so is OPERA's. Two deviations: clips of
1025 frames are read too, on which the original stops, and training reads all windows, where the original draws one.
HTS-AT's own spectrogram and its classifier are not part of the encoder.
"""

from __future__ import annotations

from pathlib import Path

import torch
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from align.encoders.base import Encoded
from align.encoders.checkpoints import Layout, Rename, load_published
from align.encoders.opera import COLA_RENAMES, ContrastiveOperaEncoder
from align.encoders.opera_features import BANDS
from align.encoders.spec import EncoderSpec

EMBEDDING_SIZE = 768
WINDOW_FRAMES = 1024
HOP_FRAMES = 512
QUARTERS = 4
STEPS = 32
"""Moments of a window."""


class OperaCT(ContrastiveOperaEncoder):
    """Embedding: mean of the last tokens. A clip has 32 moments, whatever its length up to 1024 frames."""

    least_frames = 1

    def __init__(self, spec: EncoderSpec) -> None:
        """Make the network with random weights."""
        super().__init__(spec, EMBEDDING_SIZE)
        self.band_norm = nn.BatchNorm1d(BANDS)
        self.network = SwinTransformer(
            img_size=256,
            in_chans=1,
            num_classes=0,
            global_pool="",
            num_heads=(4, 8, 16, 32),
            window_size=8,
            drop_path_rate=0.1,
        )

    def forward(self, features: Tensor) -> Encoded:
        """Embed features (batch, frames, 64) of any length."""
        windows = _windows(self.band_norm(features.transpose(1, 2)))
        tokens = self.network.forward_features(_fold(windows.flatten(0, 1)))
        # (windows, batch, quarter, upper or lower half of the bands, time in the quarter, embedding)
        tokens = tokens.reshape(*windows.shape[:2], QUARTERS, -1, STEPS // QUARTERS, EMBEDDING_SIZE)
        return Encoded(tokens.mean(dim=(0, 2, 3, 4)), _join(tokens.mean(dim=3).flatten(2, 3)))


def _windows(bands: Tensor) -> Tensor:
    """(batch, bands, frames) to (windows, batch, bands, 1024)."""
    frames = bands.shape[2]
    if frames <= WINDOW_FRAMES:
        stretched = F.interpolate(bands.unsqueeze(1), (BANDS, WINDOW_FRAMES), mode="bicubic", align_corners=True)
        return stretched.transpose(0, 1)
    starts = range(0, max(frames - WINDOW_FRAMES - 1, 1), HOP_FRAMES)
    return torch.stack([bands[..., start : start + WINDOW_FRAMES] for start in starts])


def _fold(bands: Tensor) -> Tensor:
    """(clips, bands, 1024) to pictures (clips, 1, 256, 256): quarters of the time from top to bottom."""
    quarters = bands.reshape(len(bands), BANDS, QUARTERS, -1)
    return quarters.transpose(1, 2).flatten(1, 2).unsqueeze(1)


def _join(steps: Tensor) -> Tensor:
    """(windows, batch, 32, size) to (batch, steps, size): the mean where windows overlap."""
    hop = STEPS * HOP_FRAMES // WINDOW_FRAMES
    count, batch, _, size = steps.shape
    total = steps.new_zeros(batch, STEPS + hop * (count - 1), size)
    covered = steps.new_zeros(total.shape[1], 1)
    for index, window in enumerate(steps):
        place = slice(index * hop, index * hop + STEPS)
        total[:, place] += window
        covered[place] += 1
    return total / covered


def _swin_renames() -> tuple[Rename, ...]:
    """timm merges patches at the start of a stage, HTS-AT at the end of the one before."""
    htsat = r"encoder\.encoder\.htsat\."
    kept = r"(weight|bias)"
    merges = tuple(
        Rename(
            rf"{htsat}layers\.{stage}\.downsample\.(\w+)\.{kept}",
            rf"network.layers.{stage + 1}.downsample.\1.\2",
        )
        for stage in range(3)
    )
    return (
        Rename(rf"{htsat}bn0\.(\w+)", r"band_norm.\1"),
        Rename(rf"{htsat}((?:patch_embed\.\w+|norm)\.{kept})", r"network.\1"),
        Rename(rf"{htsat}(layers\.\d\.blocks\.\d\.[\w.]+\.{kept})", r"network.\1"),
        Rename(rf"{htsat}(layers\.\d\.blocks\.\d\.attn\.relative_position_bias_table)", r"network.\1"),
        *merges,
    )


LAYOUT = Layout(
    "OPERA-CT",
    anchor="encoder.encoder.htsat.bn0.weight",
    renames=(*_swin_renames(), *COLA_RENAMES),
    # HTS-AT's spectrogram and classifier, and what follows from the size of its windows.
    unneeded=r"encoder\.encoder\.htsat\.("
    r"spectrogram_extractor\..+|logmel_extractor\..+|tscam_conv\..+|head\..+"
    r"|.+\.relative_position_index|.+\.attn_mask)",
)


def build(spec: EncoderSpec) -> OperaCT:
    """The encoder, with its published weights if `spec.checkpoint` names a file.

    Raises:
        EncoderError: the checkpoint cannot be used.
    """
    encoder = OperaCT(spec)
    if spec.checkpoint:
        load_published(encoder, Path(spec.checkpoint), LAYOUT)
    return encoder
