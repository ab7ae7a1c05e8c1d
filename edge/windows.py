"""A stream cut into overlapping windows by absolute sample index. Knows nothing of models or time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.ring import MirroredRing


@dataclass(frozen=True)
class Window:
    """`samples` (window_samples,) float32 from absolute index `start`; all after the first `valid` are zero padding.

    `samples` is a view that the windower overwrites: use it before asking for the next window, or copy it.
    """

    start: int
    valid: int
    samples: NDArray[np.float32]


class Windower:
    """Windows of `window_samples`, one every `hop_samples`, the first at `start_index`."""

    def __init__(self, window_samples: int, hop_samples: int, start_index: int = 0) -> None:
        """Raises ValueError for a hop that would leave samples in no window."""
        if not 0 < hop_samples <= window_samples:
            raise ValueError(f"hop of {hop_samples} samples must be above 0 and at most the window, {window_samples}")
        self._window_samples = window_samples
        self._hop_samples = hop_samples
        self._ring = MirroredRing(window_samples, start_index)
        self._next_start = start_index
        self._covered = start_index  # every sample before this lies in some window

    @property
    def end(self) -> int:
        """Absolute index one past the newest sample."""
        return self._ring.end

    def set_hop(self, hop_samples: int) -> None:
        """From the next window on, another hop; at most the window. Not while a `push` or `flush` is being iterated."""
        if not 0 < hop_samples <= self._window_samples:
            raise ValueError(f"hop of {hop_samples} samples must be above 0 and at most the window")
        self._hop_samples = hop_samples

    def push(self, samples: NDArray[np.float32]) -> Iterator[Window]:
        """Take samples (n,); yield the windows that they complete. Exhaust the iterator: it takes the samples."""
        taken = 0
        while taken < len(samples):
            # Never past the next window's end, so that a ring of one window is enough.
            stop = taken + self._next_start + self._window_samples - self._ring.end
            part = samples[taken:stop]
            self._ring.append(part)
            taken += len(part)
            if self._ring.end == self._next_start + self._window_samples:
                start = self._next_start
                self._next_start += self._hop_samples
                self._covered = self._ring.end
                yield Window(start, self._window_samples, self._ring.view(start, self._ring.end))

    def flush(self) -> Iterator[Window]:
        """End of the stream: one zero-padded window if the last samples lie in no window yet, otherwise none."""
        end = self._ring.end
        if self._covered == end:
            return
        self._covered = end
        padded = np.zeros(self._window_samples, dtype=np.float32)
        valid = end - self._next_start
        padded[:valid] = self._ring.view(self._next_start, end)
        yield Window(self._next_start, valid, padded)
