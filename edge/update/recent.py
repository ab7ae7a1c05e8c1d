"""The newest seconds of what is heard, in memory alone, so that a new bundle's trial hears this very room.

Does: keeps 20 s of one listener. Does not: write them to a disk; the process of the trial reads them from memory.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge.hooks import Hooks
from edge.sources.base import Block

if TYPE_CHECKING:
    from edge.listener import Listener

HELD_S = 20.0


@dataclass(frozen=True)
class Sound:
    """(frames, channels) float32 in [-1, 1]; gaps are closed."""

    samples: NDArray[np.float32]
    sample_rate_hz: int


class RecentSound:
    """What the listener that was heard first has heard last."""

    def __init__(self, hooks: Hooks) -> None:
        """Hear of every block."""
        self._listener = ""
        self._rate_hz = 0
        self._frames = 0
        self._blocks: deque[NDArray[np.float32]] = deque()
        self._lock = threading.Lock()
        hooks.on_block.append(self._on_block)

    def take(self) -> Sound | None:
        """The newest seconds; None before any sound. Any thread."""
        with self._lock:
            return Sound(np.concatenate(self._blocks), self._rate_hz) if self._blocks else None

    def _on_block(self, listener: Listener, block: Block) -> None:
        with self._lock:
            self._listener = self._listener or listener.name
            if listener.name != self._listener or len(block.samples) == 0:
                return
            self._rate_hz = listener.source.sample_rate_hz
            self._blocks.append(block.samples)
            self._frames += len(block.samples)
            while self._frames - len(self._blocks[0]) >= HELD_S * self._rate_hz:
                self._frames -= len(self._blocks.popleft())
