"""One runtime for many listeners: a thread of its own runs it, and windows that wait at the same time go as one batch.

Does: takes windows from any thread, runs them in the order of their coming, as one batch where the models take several
at a time, and tells for how long the runtime has not answered. Does not: wait for windows to come together; those that
come while a batch runs make the next one.
"""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend, BatchBackend, Output

LARGEST_BATCH = 8
"""Bounds the memory of a batch, and how long the first of its windows waits for the last; more gain no speed."""
SLOW_S = 10.0
"""A batch takes a fraction of a second; after so long the runtime counts as stuck."""


class _Request:
    """One window on its way through the runtime."""

    def __init__(self, waveform: NDArray[np.float32]) -> None:
        self.waveform = waveform
        self.done = threading.Event()
        self.output: Output | None = None
        self.error: Exception | None = None


class SharedBackend:
    """A `Backend` that any number of threads may call; owns the thread that calls the one inside."""

    def __init__(self, backend: Backend) -> None:
        """Start the thread; from now on nobody else calls `backend`."""
        self.name = backend.name
        self._backend = backend
        self._waiting: deque[_Request] = deque()
        self._changed = threading.Condition()
        self._begun: float | None = None
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """For how long the runtime has been computing what it computes now; 0 while it has nothing to do."""
        begun = self._begun
        return 0.0 if begun is None else time.monotonic() - begun

    @property
    def trouble(self) -> str:
        """Why nothing is analysed; empty while all is well."""
        return "the runtime does not answer" if self.busy_s > SLOW_S else ""

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        """Run one window and wait for it. Raises what the runtime raises."""
        request = _Request(waveform)
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        request.done.wait()
        if request.error is not None:
            raise request.error
        assert request.output is not None  # noqa: S101 - the one or the other is set
        return request.output

    def _run(self) -> None:
        while True:
            batch = self._take()
            self._begun = time.monotonic()
            try:
                outputs = self._infer([request.waveform for request in batch])
                for request, output in zip(batch, outputs, strict=True):
                    request.output = output
            except Exception as error:  # each caller meets it in its own thread
                for request in batch:
                    request.error = error
            self._begun = None
            for request in batch:
                request.done.set()

    def _take(self) -> list[_Request]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting))
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), LARGEST_BATCH))]

    def _infer(self, waveforms: list[NDArray[np.float32]]) -> list[Output]:
        if len(waveforms) > 1 and isinstance(self._backend, BatchBackend):
            return self._backend.infer_batch(np.stack(waveforms))
        return [self._backend.infer(waveform) for waveform in waveforms]
