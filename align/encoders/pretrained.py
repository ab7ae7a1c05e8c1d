"""General audio encoders of the library transformers behind the protocol of encoders.

AST, CLAP's audio tower, Whisper's encoder, wav2vec 2.0 and its kin (`align.encoders.published.ARCHITECTURES` has the
list). A clip's vector is the mean over the moments that hold its audio, never over padding. Dropout in training is as
the checkpoint's config.json has it; layers and moments that transformers would leave out at random stay in, and batch
normalisation keeps the statistics of the checkpoint. Heads of the checkpoint (labels, text, codebooks) are not read.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from align.encoders.base import Encoded, Encoder
from align.encoders.errors import EncoderError
from align.encoders.listeners import Listener
from align.encoders.published import load
from align.encoders.spans import hide, moments, span_error, span_mask
from align.encoders.spec import EncoderSpec

SPAN_S = 0.3
"""Longer than a sound holds still, so that the neighbours of a hidden moment do not give it away."""
DETAIL_S = 0.04
"""Finest time at which what is hidden must be told."""


def build(spec: EncoderSpec) -> PretrainedEncoder:
    """Load a published encoder; `spec.checkpoint` is a folder or the id of a model.

    Raises:
        EncoderError: there is no such model, it is not an audio encoder, its files cannot be read, or it cannot hear
            `spec.clip_s` at once.
    """
    published = load(spec.checkpoint)
    samples = round(spec.clip_s * published.extractor.sampling_rate)
    try:
        listener = published.architecture.listener(published.model, published.extractor, samples)
    except EncoderError as error:
        raise EncoderError(f"{spec.checkpoint}: {error}") from error
    return PretrainedEncoder(listener)


class PretrainedEncoder(Encoder):
    """A published model with its own features, and masked modelling of spans of time as its self-supervised loss."""

    def __init__(self, listener: Listener) -> None:
        """Add the linear decoder of the loss, which starts at random."""
        super().__init__()
        self.listener = listener
        self.sample_rate_hz = listener.sample_rate_hz
        self.clip_samples = listener.samples
        self.embedding_size = listener.embedding_size
        step_s = listener.step_samples / listener.sample_rate_hz
        self._span = max(1, round(SPAN_S / step_s))
        self._detail = max(1, round(step_s / DETAIL_S))
        self.decoder = nn.Linear(listener.embedding_size, self._detail * listener.bins)

    def transform(self, waveform: Tensor) -> Tensor:
        """The features of transformers' feature extractor, in float32: (batch, samples) or (batch, time, bands).

        Raises:
            ValueError: the model pads its input, and the waveform has not `clip_samples` samples.
        """
        with torch.no_grad(), torch.autocast(waveform.device.type, enabled=False):
            return self.listener.features(waveform.float())

    def forward(self, features: Tensor) -> Encoded:
        """Embed features; of the models that take samples, any length of them."""
        frames = self.listener.frames(features)
        return Encoded(frames.mean(dim=1), frames)

    def self_supervised_loss(self, features: Tensor, seeds: Tensor) -> Tensor:
        """Mean squared error of telling the log-mel of hidden spans; about 1 for an encoder that knows nothing.

        Args:
            features: of whole clips, as `transform` gives them.
            seeds: (batch,) int64.
        """
        listener = self.listener
        with torch.no_grad(), torch.autocast(features.device.type, enabled=False):
            target = moments(listener.log_mel(features.float()), listener.steps, self._detail)
        masked = span_mask(seeds, listener.steps, self._span).to(features.device)
        frames = listener.frames(hide(features, masked, listener.place))
        return span_error(self.decoder(frames), target, masked)

    def train(self, mode: bool = True) -> PretrainedEncoder:
        """Switch to training; batch normalisation stays as it is, for a batch must not change what a clip is."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self
