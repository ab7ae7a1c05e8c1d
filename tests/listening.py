"""Reads a source and keeps what it gave: to its end, or in a thread where it has none."""

from __future__ import annotations

import threading
import time
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from edge.sources.base import Block, Source
from tests.brokers import PATIENCE_S


class Recorder:
    """A context manager: reads from entering on, closes the source on leaving."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.blocks: list[Block] = []
        self.begun_s = time.monotonic()
        self.error: Exception | None = None
        self._reading = threading.Thread(target=self._read, daemon=True)

    @property
    def samples(self) -> NDArray[np.float32]:
        """(frames,) of all blocks, one after the other, gaps left out."""
        return np.concatenate([np.zeros(0, np.float32), *(block.samples[:, 0] for block in list(self.blocks))])

    @property
    def end(self) -> int:
        """Position after the last block."""
        return self.blocks[-1].position + len(self.blocks[-1].samples)

    def between(self, begin: int, end: int) -> NDArray[np.float32]:
        """(frames,) of the blocks that begin there, gaps left out."""
        blocks = [block.samples[:, 0] for block in list(self.blocks) if begin <= block.position < end]
        return np.concatenate([np.zeros(0, np.float32), *blocks])

    @property
    def gaps(self) -> list[tuple[int, int]]:
        """Where sound is missing: from, to."""
        found, end = [], 0
        for block in list(self.blocks):
            if block.position != end:
                found.append((end, block.position))
            end = block.position + len(block.samples)
        return found

    def __enter__(self) -> Recorder:
        self.begun_s = time.monotonic()
        self._reading.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.source.close()
        self._reading.join(PATIENCE_S)
        assert not self._reading.is_alive(), "the source does not end when it is closed"

    def _read(self) -> None:
        try:
            self.blocks.extend(self.source.blocks())
        except Exception as error:
            self.error = error


def drain(source: Source) -> NDArray[np.float32]:
    """All samples (frames, channels) of a source that ends, after a check that positions leave no gap."""
    parts, position = [np.empty((0, source.channels), np.float32)], 0
    for block in source.blocks():
        assert block.position == position
        assert block.samples.dtype == np.float32
        assert not block.samples.flags.writeable
        position += len(block.samples)
        parts.append(block.samples)
    return np.concatenate(parts)
