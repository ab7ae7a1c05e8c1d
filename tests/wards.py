"""Sources and backends in the hands of a test, and listeners over them."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend, Output
from edge.config import Settings
from edge.events import Event
from edge.hooks import Hooks
from edge.listener import Listener, Pace
from edge.listeners import Listeners
from edge.metrics import Metrics
from edge.pipeline import Model
from edge.sources.base import Block
from tests.brokers import eventually


class Fed:
    """A source that yields what a test feeds it, until it is closed."""

    channels = 1

    def __init__(self, name: str, sample_rate_hz: int = 16_000) -> None:
        self.name, self.sample_rate_hz, self.trouble = name, sample_rate_hz, ""
        self._items: list[Block | Exception] = []
        self._changed = threading.Condition()
        self._closed = False

    def feed(self, *items: Block | Exception) -> None:
        with self._changed:
            self._items.extend(items)
            self._changed.notify_all()

    def blocks(self) -> Iterator[Block]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._items) or self._closed)
                if not self._items:
                    return
                item = self._items.pop(0)
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Ward:
    """Listeners over fed sources, and the events that they have given."""

    def __init__(self, model: Model, *sources: Fed, pace: Pace = "realtime") -> None:
        self.found: dict[str, list[Event]] = {source.name: [] for source in sources}
        self.hooks = Hooks()
        self.listeners = Listeners(
            Listener(source.name, source, model, Settings(), pace=pace, keep=self._keep, hooks=self.hooks)
            for source in sources
        )
        self._metrics = Metrics(self.hooks, version="1", bundle="tiny-1.2.3", backend="stuck", labels=("cough",))
        for listener in self.listeners:
            self._metrics.watch(listener)

    def told_s(self, name: str) -> tuple[float | None, float | None]:
        """What the figures of a source say: seconds of sound that were heard, and that are missing."""
        figures = ("acula_audio_seconds_total", "acula_gap_seconds_total")
        heard, missing = (self._metrics.registry.get_sample_value(figure, {"source": name}) for figure in figures)
        return heard, missing

    def _keep(self, listener: Listener, event: Event) -> None:
        self.found[listener.name].append(event)

    def labels(self, name: str) -> list[str]:
        return [event.label for event in self.found[name]]

    def end(self) -> None:
        self.listeners.stop()
        eventually(lambda: self.listeners.wait(0.05), "the end of all listeners")


class Stuck:
    """A backend that answers when the test lets it."""

    name = "stuck"

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.gate = threading.Event()
        self.asked = 0

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        self.asked += 1
        self.gate.wait()
        return self._backend.infer(waveform)
