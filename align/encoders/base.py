"""What every encoder promises, whichever family it is of.

An encoder brings its own feature transform and its own self-supervised loss, so that training and evaluation know
nothing of either. It holds no head of the alignment (`align.objectives`) and reads no audio file (`align.audio`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor, nn


class Encoded(NamedTuple):
    """What an encoder makes of a batch."""

    clip: Tensor
    """(batch, embedding_size): one vector a clip."""
    frames: Tensor
    """(batch, steps, embedding_size): one vector a moment, in order of time."""


class Encoder(nn.Module, ABC):
    """Waveform to features, features to embeddings, and the loss that keeps the acoustics."""

    sample_rate_hz: int
    """Rate of the waveforms that `transform` takes, Hz."""
    clip_samples: int
    """Length of the waveforms that training feeds it."""
    embedding_size: int

    @abstractmethod
    def transform(self, waveform: Tensor) -> Tensor:
        """Features of waveforms (batch, samples) in [-1, 1], computed on their device, without gradient.

        A clip's features depend on that clip alone, not on the batch that it comes in.
        """

    def augment(self, features: Tensor) -> Tensor:
        """Features as training is to hear them, of the same shape, drawn from torch's generator; here unchanged."""
        return features

    @abstractmethod
    def forward(self, features: Tensor) -> Encoded:
        """Embed features as `transform` gives them, or pieces of them in time where the family can."""

    @abstractmethod
    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:
        """Scalar loss that needs no report: masked modelling or contrast of two crops.

        Args:
            features: as `transform` gives them, (batch, ...).
            seeds: (batch,) int64. What is masked or cut of a clip is a function of its seed alone, so that a loss does
                not depend on how clips are spread over batches, processes and resumptions.
        """
