"""What the three OPERA encoders share: their features, and the contrast of crops that two of them are trained with.

OPERA: Zhang et al., Towards Open Respiratory Acoustic Foundation Models (arXiv 2406.16148).
"""

from __future__ import annotations

import torch
from torch import Tensor

from align.encoders.base import Encoder
from align.encoders.checkpoints import Rename
from align.encoders.cola import Cola, two_crops
from align.encoders.errors import EncoderError
from align.encoders.opera_features import SAMPLE_RATE_HZ, OperaFeatures, frame_count
from align.encoders.spec import EncoderSpec

COLA_RENAMES = (
    Rename(r"g\.(weight|bias)", r"cola.projection.\1"),
    Rename(r"layer_norm\.(weight|bias)", r"cola.norm.\1"),
    Rename(r"linear\.weight", "cola.bilinear.weight"),
)


class OperaEncoder(Encoder):
    """An encoder of OPERA's features."""

    sample_rate_hz = SAMPLE_RATE_HZ
    least_frames: int
    """Frames without which the network has nothing to look at."""
    most_frames: int | None = None

    def __init__(self, spec: EncoderSpec) -> None:
        """Make the transform and check the length of clips.

        Raises:
            EncoderError: clips are shorter or longer than the architecture takes.
        """
        super().__init__()
        self.clip_samples = round(spec.clip_s * SAMPLE_RATE_HZ)
        self.check_frames(frame_count(self.clip_samples), f"clip_s = {spec.clip_s:g}")
        self.features = OperaFeatures()

    def transform(self, waveform: Tensor) -> Tensor:
        """Features (batch, frames, 64) in [0, 1]; a frame is 32 ms after the one before."""
        features: Tensor = self.features(waveform)
        return features

    def check_frames(self, frames: int, what: str) -> None:
        """Refuse what is too short or too long for the network.

        Raises:
            EncoderError: it is.
        """
        if frames < self.least_frames:
            raise EncoderError(f"{what}: {frames} frames of 32 ms; {type(self).__name__} needs {self.least_frames}")
        if self.most_frames is not None and frames > self.most_frames:
            raise EncoderError(f"{what}: {frames} frames of 32 ms; {type(self).__name__} takes {self.most_frames}")


class ContrastiveOperaEncoder(OperaEncoder):
    """An OPERA encoder that is trained by COLA."""

    def __init__(self, spec: EncoderSpec, embedding_size: int) -> None:
        """Make the transform and the head of the contrast.

        Raises:
            EncoderError: clips are shorter than the architecture takes.
        """
        super().__init__(spec)
        self.embedding_size = embedding_size
        self.cola = Cola(embedding_size)

    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:
        """Contrast of two crops of each clip among those of the batch; as `align.encoders.cola` says."""
        clip = self(torch.cat(two_crops(features, seeds))).clip
        loss: Tensor = self.cola(*clip.chunk(2))
        return loss
