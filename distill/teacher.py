"""The teacher: an encoder of `align`, aligned or plain, that says what it makes of a view.

It is frozen, and asked about each view once (`distill.lessons` keeps its answers). It trains nothing and knows no
labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from align.aligned import load_task
from align.channel import Samples
from align.checkpointing import load_encoder
from align.embedding import starts
from align.encoders import EncoderSpec, build_encoder
from align.encoders.base import Encoder
from align.heads import Alignment
from distill.teach_config import TeacherSettings
from distill.views import at_least, at_rate


@dataclass(frozen=True)
class Teacher:
    """A frozen encoder and the SHA-256 of its weights."""

    name: str
    encoder: Encoder
    sha256: str
    aligned: Path | None
    """The folder of its alignment; none for a plain encoder."""

    @property
    def parameters(self) -> int:
        """Numbers that it was trained to have."""
        return sum(parameter.numel() for parameter in self.encoder.parameters())

    @torch.inference_mode()
    def embed(self, views: Sequence[Samples], sample_rate_hz: int) -> NDArray[np.float32]:
        """(views, embedding_size) of views of one length; of a longer one than the encoder hears, the mean of pieces.

        Args:
            views: (samples,) each.
            sample_rate_hz: of the views.
        """
        rate, length = self.encoder.sample_rate_hz, self.encoder.clip_samples
        heard = [at_least(at_rate(view, sample_rate_hz, rate), length) for view in views]
        device = next(self.encoder.parameters()).device
        places = starts(len(heard[0]), length)
        total = np.zeros((len(heard), self.encoder.embedding_size), dtype=np.float64)
        for place in places:
            waveform = torch.from_numpy(np.stack([view[place : place + length] for view in heard])).to(device)
            total += self.encoder(self.encoder.transform(waveform)).clip.double().cpu().numpy()
        return np.asarray(total / len(places), dtype=np.float32)

    def alignment(self) -> Alignment:
        """What leads from its embeddings to the language model's space.

        Raises:
            AlignedError: it was not aligned so that audio and text can be compared.
        """
        assert self.aligned is not None  # noqa: S101 - `refuse_misfits` asks for it wherever texts are
        return load_task(self.aligned).alignment


def open_teacher(settings: TeacherSettings) -> Teacher:
    """Open the teacher, on a GPU if there is one.

    Raises:
        EncoderError: there is none, or its weights are of another architecture.
    """
    if settings.aligned is not None:
        encoder, name = load_encoder(settings.aligned), settings.aligned.name
    else:
        spec = EncoderSpec(
            name=settings.encoder,
            checkpoint=settings.checkpoint,
            sample_rate_hz=settings.sample_rate_hz,
            clip_s=settings.clip_s,
        )
        encoder, name = build_encoder(spec), settings.encoder
    digest = hashlib.sha256()
    for key, value in sorted(encoder.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    encoder.requires_grad_(False).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Teacher(name, encoder.to(device), digest.hexdigest(), settings.aligned)
