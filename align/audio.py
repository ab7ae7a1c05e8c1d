"""Open recordings: decode, mix down, resample. Augmentation lives in `align.channel`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from edge.errors import AudioError


def load(path: Path, sample_rate_hz: int) -> NDArray[np.float32]:
    """Decode the file at `path` to mono float32 in [-1, 1] at `sample_rate_hz`, shape (samples,).

    Channels are averaged. The resampler is the device's (soxr, high quality): training hears what the device hears.

    Raises:
        AudioError: the file is missing, empty, not audio, or holds values that are not finite.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError) as error:
        raise AudioError(f"{path}: cannot be decoded ({error})") from error
    if len(samples) == 0:
        raise AudioError(f"{path}: holds no samples")
    mono: NDArray[np.float32] = samples.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise AudioError(f"{path}: holds values that are not finite")
    if rate == sample_rate_hz:
        return mono
    return np.asarray(soxr.resample(mono, rate, sample_rate_hz, quality="HQ"), dtype=np.float32)
