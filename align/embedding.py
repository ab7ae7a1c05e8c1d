"""Embeddings of whole recordings: clips side by side, averaged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align.clips import Clips, crop
from align.encoders.base import Encoder

BATCH_SIZE = 64


@torch.inference_mode()
def embed_recordings(encoder: Encoder, clips: Clips, device: torch.device) -> NDArray[np.float32]:
    """(recordings, embedding_size): the mean over clips that lie half over each other and cover the recording.

    A recording shorter than a clip is heard again from its beginning, as in training. The encoder comes back in the
    mode in which it was.
    """
    was_training = encoder.training
    encoder.eval()
    sums = np.zeros((len(clips), encoder.embedding_size), dtype=np.float64)
    counts = np.zeros((len(clips), 1))
    for owners, waveform in _batches(clips, encoder.clip_samples):
        vectors = encoder(encoder.transform(waveform.to(device))).clip.float().cpu().numpy()
        np.add.at(sums, owners, vectors)
        np.add.at(counts, owners, 1.0)
    encoder.train(was_training)
    return np.asarray(sums / counts, dtype=np.float32)


def starts(samples: int, length: int) -> list[int]:
    """Where clips of `length` begin so that every sample is in one; the last one ends with the recording."""
    if samples <= length:
        return [0]
    return [*range(0, samples - length, length // 2), samples - length]


def _batches(clips: Clips, length: int) -> Iterator[tuple[list[int], Tensor]]:
    owners: list[int] = []
    pieces: list[NDArray[np.float32]] = []
    for index in range(len(clips)):
        samples = clips.samples(index)
        for start in starts(len(samples), length):
            owners.append(index)
            pieces.append(crop(samples, length, start))
            if len(pieces) == BATCH_SIZE:
                yield owners, torch.from_numpy(np.stack(pieces))
                owners, pieces = [], []
    if pieces:
        yield owners, torch.from_numpy(np.stack(pieces))
