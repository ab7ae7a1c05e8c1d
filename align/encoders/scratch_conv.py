"""A small convolutional encoder for those who have no checkpoint: 0.4 M parameters, any sample rate."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from align.encoders.base import Encoded, Encoder
from align.encoders.cola import Cola, two_crops
from align.encoders.errors import EncoderError
from align.encoders.log_mel import ClipLogMel, SpecAugment
from align.encoders.spec import EncoderSpec

WIDTHS = (16, 32, 64, 128)
EMBEDDING_SIZE = 256
DROPOUT = 0.1
PROJECTION_SIZE = 128
SHORTEST_CLIP_S = 0.25
"""A few windows of the log-mel, so that a crop holds more than one moment."""
CROP_SHARE = 0.4
"""Length of the crops that are told apart, of the clip."""


class Block(nn.Module):
    """Two convolutions beside a shortcut; halves bands and frames."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, inputs, bands, frames) to (batch, outputs, bands / 2, frames / 2), rounded up."""
        return torch.relu(self.shortcut(features) + self.body(features))


class ScratchConv(Encoder):
    """Log-mel, a stem and three residual blocks; mean and maximum over time to one embedding.

    Its self-supervised loss is COLA on two crops in time.
    """

    embedding_size = EMBEDDING_SIZE

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.sample_rate_hz = spec.sample_rate_hz
        self.clip_samples = round(spec.clip_s * spec.sample_rate_hz)
        self.log_mel = ClipLogMel(spec.sample_rate_hz)
        self.spec_augment = SpecAugment(self.log_mel.bands, self.clip_samples // self.log_mel.hop)
        self.stem = nn.Sequential(
            nn.Conv2d(1, WIDTHS[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        self.blocks = nn.Sequential(*(Block(inputs, outputs) for inputs, outputs in pairwise(WIDTHS)))
        # Convolutions train a third faster in this order of memory; the values are the same.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dropout = nn.Dropout(DROPOUT)
        self.embedding = nn.Linear(2 * WIDTHS[-1], EMBEDDING_SIZE)
        self.crop_frames = round(CROP_SHARE * self.clip_samples / self.log_mel.hop)
        self.cola = Cola(EMBEDDING_SIZE, projection_size=PROJECTION_SIZE)

    def transform(self, waveform: Tensor) -> Tensor:
        """Log-mel (batch, bands, frames)."""
        features: Tensor = self.log_mel(waveform)
        return features

    def augment(self, features: Tensor) -> Tensor:
        """Tilt and masks."""
        augmented: Tensor = self.spec_augment(features)
        return augmented

    def forward(self, features: Tensor) -> Encoded:
        """Embed (batch, bands, frames) of any number of frames; a step is sixteen of them."""
        steps = self.blocks(self.stem(features.unsqueeze(1).to(memory_format=torch.channels_last))).mean(dim=2)
        both = torch.cat([steps.mean(dim=2), steps.amax(dim=2)], dim=1)
        # Of a single moment the mean is the maximum, so the same layer embeds it into the same space.
        moments = torch.cat([steps, steps], dim=1).transpose(1, 2)
        return Encoded(self.embedding(self.dropout(both)), self.embedding(moments))

    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:
        """COLA: two crops of a clip are nearer to each other than to those of the batch's other clips."""
        # The crops are taken of (batch, time, bands).
        crops = two_crops(features.transpose(1, 2), seeds, shortest=self.crop_frames, longest=self.crop_frames)
        first, second = (self(crop.transpose(1, 2)).clip for crop in crops)
        loss: Tensor = self.cola(first, second)
        return loss


def build(spec: EncoderSpec) -> ScratchConv:
    """An untrained encoder; its weights come from torch's generator.

    Raises:
        EncoderError: the specification names a checkpoint, and there is none for this architecture, or its clips are
            too short to hear anything in.
    """
    if spec.checkpoint:
        raise EncoderError(f"{spec.checkpoint}: {spec.name} has no published weights; leave the checkpoint out")
    if spec.clip_s < SHORTEST_CLIP_S:
        raise EncoderError(f"encoder.clip_s = {spec.clip_s}: {spec.name} hears at least {SHORTEST_CLIP_S} seconds")
    return ScratchConv(spec)
