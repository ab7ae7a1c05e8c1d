"""The newest samples of a stream by absolute index, each stored twice so that any range is one contiguous view."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class MirroredRing:
    """A ring of `capacity` float32 samples (8 * capacity bytes, allocated once).

    Sample i lies at i % capacity and again `capacity` further on, so a view never wraps and never copies. Indices are
    Python ints and do not overflow. One thread appends and reads; a view is overwritten by later appends.
    """

    def __init__(self, capacity: int, start_index: int = 0) -> None:
        """Empty; the first sample to come has the absolute index `start_index`."""
        if capacity < 1:
            raise ValueError(f"a ring needs a capacity of at least 1 sample, not {capacity}")
        self._capacity = capacity
        self._buffer = np.zeros(2 * capacity, dtype=np.float32)
        self._readable = self._buffer.view()
        self._readable.flags.writeable = False
        self._first = start_index
        self._end = start_index

    @property
    def end(self) -> int:
        """Absolute index one past the newest sample."""
        return self._end

    @property
    def start(self) -> int:
        """Absolute index of the oldest sample still held."""
        return max(self._first, self._end - self._capacity)

    def append(self, samples: NDArray[np.float32]) -> None:
        """Add samples (n,); any n, also more than the capacity, of which the newest stay."""
        capacity = self._capacity
        self._end += len(samples)
        samples = samples[-capacity:] if len(samples) > capacity else samples
        at = (self._end - len(samples)) % capacity
        first = min(len(samples), capacity - at)
        for part, where in ((samples[:first], at), (samples[first:], 0)):
            self._buffer[where : where + len(part)] = part
            self._buffer[where + capacity : where + capacity + len(part)] = part

    def view(self, start: int, stop: int) -> NDArray[np.float32]:
        """Samples start..stop (exclusive) as a read-only view, valid until the next append. IndexError if not held."""
        if not self.start <= start <= stop <= self._end:
            raise IndexError(f"samples {start}..{stop} are not held, only {self.start}..{self._end}")
        at = start % self._capacity
        return self._readable[at : at + stop - start]
