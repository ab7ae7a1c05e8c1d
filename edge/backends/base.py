"""What the rest of the device knows of a model runtime. Holds no runtime itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Output:
    """What a model says about one window, all float32; the arrays belong to the caller."""

    log_mel: NDArray[np.float32]
    """(mel_bands, frames)."""
    embedding: NDArray[np.float32]
    """(embedding_size,)."""
    scores: NDArray[np.float32]
    """(steps, labels), 0..1."""


class Backend(Protocol):
    """Runs one bundle. Stateless between windows: the same window gives the same output, bit for bit."""

    name: str

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        """Run one window: (window_samples,) float32 at the bundle's rate, which is only read during the call."""
        ...


@runtime_checkable
class BatchBackend(Protocol):
    """A backend that takes several windows in one call; optional."""

    def infer_batch(self, waveforms: NDArray[np.float32]) -> list[Output]:
        """Run (n, window_samples) windows; each output is that of `infer`, within the bundle's golden tolerance."""
        ...
