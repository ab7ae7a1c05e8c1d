"""Windows of recordings: those that set the INT8 ranges, and those on which two forms of an encoder are compared.

Real recordings only, drawn in turn from every pair of corpus and event. It quantises nothing and runs no encoder.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from align.audio import load
from align.corpora import Recording
from distill.frontend import LogMel
from edge.bundle import FrontEnd
from edge.errors import AudioError
from quantize.errors import ExportError
from quantize.recordings import LabelledClip

BATCH = 32


@dataclass(frozen=True)
class CalibrationSet:
    """Windows (n, window_samples) of training recordings, where they come from, and how evenly they were drawn."""

    windows: NDArray[np.float32]
    index_sha256: str
    """Of the list of (corpus, file, first sample)."""
    strata: int
    """Pairs of corpus and event that they were drawn from in turn."""


def draw_windows(
    recordings: Sequence[Recording], count: int, window_samples: int, sample_rate_hz: int, seed: int = 0
) -> CalibrationSet:
    """Draw windows, every pair of corpus and event in turn, so that a large corpus does not set the ranges alone.

    A recording shorter than a window lies in silence at a random place, as at the start or end of a stream.

    Raises:
        ExportError: a recording is no audio file.
    """
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    for recording in sorted(recordings, key=lambda row: (row.corpus, row.event, row.path.name)):
        strata[recording.corpus, recording.event].append(recording)
    queues = [[members[place] for place in rng.permutation(len(members))] for members in strata.values()]
    windows = np.zeros((count, window_samples), dtype=np.float32)
    index = hashlib.sha256()
    for row in range(count):
        queue = queues[row % len(queues)]
        recording = queue[row // len(queues) % len(queue)]
        try:
            samples = load(recording.path, sample_rate_hz)
        except AudioError as error:
            raise ExportError(f"{error}; take it out of the table, INT8 is calibrated on recordings only") from error
        first = int(rng.integers(min(0, len(samples) - window_samples), max(1, len(samples) - window_samples + 1)))
        heard = samples[max(0, first) : first + window_samples]
        windows[row, max(0, -first) : max(0, -first) + len(heard)] = heard
        index.update(f"{recording.corpus}/{recording.path.name}@{first}\n".encode())
    return CalibrationSet(windows, index.hexdigest(), len(strata))


def loudest_windows(clips: Sequence[LabelledClip], window_samples: int) -> NDArray[np.float32]:
    """The loudest window of each clip (clips, window_samples), where what it holds is likeliest to sound."""
    windows = np.zeros((len(clips), window_samples), dtype=np.float32)
    for row, clip in enumerate(clips):
        energy = np.concatenate([[0.0], np.cumsum(np.square(clip.samples, dtype=np.float64))])
        start = (
            int(np.argmax(energy[window_samples:] - energy[:-window_samples])) if len(energy) > window_samples else 0
        )
        heard = clip.samples[start : start + window_samples]
        windows[row, : len(heard)] = heard
    return windows


@torch.inference_mode()
def log_mels(windows: NDArray[np.float32], front_end: FrontEnd) -> NDArray[np.float32]:
    """Log-mels (n, mel_bands, frames) of windows (n, window_samples), as the encoder hears them."""
    log_mel = LogMel(front_end).eval()
    batches = np.array_split(windows, max(1, len(windows) // BATCH))
    return np.concatenate([log_mel(torch.from_numpy(batch)).numpy() for batch in batches])
