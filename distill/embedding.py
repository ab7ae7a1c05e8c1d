"""What a student makes of whole recordings: windows side by side, averaged, as `align.embedding` does for encoders."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from align.clips import Clips, crop
from align.embedding import starts
from distill.frontend import LogMel
from distill.student import Student

BATCH_SIZE = 64


@torch.inference_mode()
def embed_recordings(
    student: Student,
    log_mel: LogMel,
    clips: Clips,
    window_samples: int,
    hear: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]] | None = None,
) -> NDArray[np.float32]:
    """(recordings, embedding_size): the mean over windows that lie half over each other and cover the recording.

    Head and mean are linear, so a head's logit of this is the mean of its logits. A recording shorter than a window is
    heard again from its beginning, as in training. The student comes back in the mode in which it was. `hear` is its
    forward pass in another arithmetic (`distill.quantised`).
    """
    was_training = student.training
    student.eval()
    device = next(student.parameters()).device
    owners = [
        (index, start) for index in range(len(clips)) for start in starts(len(clips.samples(index)), window_samples)
    ]
    total = np.zeros((len(clips), student.shape.embedding_size), dtype=np.float64)
    counts = np.zeros((len(clips), 1))
    for first in range(0, len(owners), BATCH_SIZE):
        batch = owners[first : first + BATCH_SIZE]
        windows = np.stack([crop(clips.samples(index), window_samples, start) for index, start in batch])
        heard = (hear or student)(log_mel(torch.from_numpy(windows).to(device)))
        embeddings = heard[0].double().cpu().numpy()
        rows = [index for index, _ in batch]
        np.add.at(total, rows, embeddings)
        np.add.at(counts, rows, 1.0)
    student.train(was_training)
    return np.asarray(total / counts, dtype=np.float32)
