"""What a probe needs no encoder for: mean and deviation of each mel band over a recording."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from align.clips import Clips, crop
from align.encoders.log_mel import FLOOR, ClipLogMel


@torch.inference_mode()
def log_mel_statistics(clips: Clips, sample_rate_hz: int) -> NDArray[np.float32]:
    """(recordings, 2 bands): log-mel of whole recordings, level kept, as mean and standard deviation over time.

    A recording shorter than a window is heard again from its beginning, as `align.embedding` does.
    """
    mel = ClipLogMel(sample_rate_hz)
    rows = []
    for index in range(len(clips)):
        samples = clips.samples(index)
        waveform = torch.from_numpy(crop(samples, max(len(samples), mel.fft), 0))
        level = torch.log(mel.power(waveform.unsqueeze(0))[0] + FLOOR)
        rows.append(torch.cat([level.mean(dim=1), level.std(dim=1, correction=0)]).numpy())
    return np.stack(rows)
