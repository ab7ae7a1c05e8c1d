"""A small vision transformer on log-mel for those who have no checkpoint: 0.9 M parameters, any sample rate."""

from __future__ import annotations

import torch
from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from align.encoders.base import Encoded, Encoder
from align.encoders.errors import EncoderError
from align.encoders.log_mel import ClipLogMel, SpecAugment
from align.encoders.masking import cut_patches, draw_mask, keep_seen, masked_mse, put_back
from align.encoders.spec import EncoderSpec

EMBEDDING_SIZE = 128
HEADS = 4
BLOCKS, DECODER_BLOCKS = 4, 1
PATCH = 8
"""Sides of a patch: frames and bands."""
MASK_RATIO = 0.7


class ScratchVit(Encoder):
    """Patches of log-mel, transformer blocks, mean of the patches.

    Its self-supervised loss is masked modelling (arXiv 2111.06377). A moment is `PATCH` frames. Clips are of one
    length, as the place of a patch is part of it.
    """

    embedding_size = EMBEDDING_SIZE

    def __init__(self, spec: EncoderSpec) -> None:
        """Make the networks with random weights.

        Raises:
            EncoderError: clips are shorter than two patches.
        """
        super().__init__()
        self.sample_rate_hz = spec.sample_rate_hz
        self.clip_samples = round(spec.clip_s * spec.sample_rate_hz)
        self.log_mel = ClipLogMel(spec.sample_rate_hz)
        frames = 1 + self.clip_samples // self.log_mel.hop
        self.grid = (frames // PATCH, self.log_mel.bands // PATCH)
        if self.grid[0] < 2:
            raise EncoderError(
                f"clips of {spec.clip_s} s are too short for {spec.name}; give encoder.clip_s of 1 or more"
            )
        self.spec_augment = SpecAugment(self.log_mel.bands, self.grid[0] * PATCH)
        self.patch = nn.Linear(PATCH * PATCH, EMBEDDING_SIZE)
        place = build_sincos2d_pos_embed(list(self.grid), EMBEDDING_SIZE).reshape(1, -1, EMBEDDING_SIZE)
        self.place: Tensor
        self.register_buffer("place", place, persistent=False)
        self.blocks = nn.Sequential(*(Block(EMBEDDING_SIZE, HEADS, qkv_bias=True) for _ in range(BLOCKS)))
        self.norm = nn.LayerNorm(EMBEDDING_SIZE)
        self.filler = nn.Parameter(torch.zeros(1, 1, EMBEDDING_SIZE))
        self.decoder = nn.Sequential(*(Block(EMBEDDING_SIZE, HEADS, qkv_bias=True) for _ in range(DECODER_BLOCKS)))
        self.guess = nn.Linear(EMBEDDING_SIZE, PATCH * PATCH)

    def transform(self, waveform: Tensor) -> Tensor:
        """Log-mel (batch, bands, frames), frames a multiple of a patch's."""
        features: Tensor = self.log_mel(waveform)
        wanted = self.grid[0] * PATCH
        # Of a recording shorter than a clip the rest is silence, which is what a mask leaves, too.
        return F.pad(features, (0, max(0, wanted - features.shape[2])))[:, :, :wanted]

    def augment(self, features: Tensor) -> Tensor:
        """Tilt and masks."""
        augmented: Tensor = self.spec_augment(features)
        return augmented

    def forward(self, features: Tensor) -> Encoded:
        """Embed (batch, bands, frames) as `transform` gives them."""
        tokens = self.norm(self.blocks(self._tokens(features)))
        moments = tokens.unflatten(1, self.grid).mean(dim=2)
        return Encoded(tokens.mean(dim=1), moments)

    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:
        """Mean squared error of the hidden patches' log-mel."""
        tokens = self._tokens(features)
        mask = draw_mask(seeds, tokens.shape[1], MASK_RATIO, features.device)
        seen = self.norm(self.blocks(keep_seen(tokens, mask)))
        everywhere = put_back(seen, self.filler, mask) + self.place
        guess = self.guess(self.decoder(everywhere))
        return masked_mse(guess, self._patches(features), mask)

    def _patches(self, features: Tensor) -> Tensor:
        return cut_patches(features.transpose(1, 2), PATCH, PATCH)

    def _tokens(self, features: Tensor) -> Tensor:
        tokens: Tensor = self.patch(self._patches(features)) + self.place
        return tokens


def build(spec: EncoderSpec) -> ScratchVit:
    """An untrained encoder; its weights come from torch's generator.

    Raises:
        EncoderError: the specification names a checkpoint, and there is none for this architecture; or clips too short.
    """
    if spec.checkpoint:
        raise EncoderError(f"{spec.checkpoint}: {spec.name} has no published weights; leave the checkpoint out")
    return ScratchVit(spec)
