"""All listeners of a run: opens their sources, starts them, and ends them in order.

Does: opens what `[source]` or `[[sources]]` name, and gathers what the listeners tell of themselves. A source that
turns unusable is told in the status while others are heard. Does not: hear anything (`edge.listener` does).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import datetime

import structlog

from edge.config import Settings
from edge.errors import AudioError, UserError
from edge.listener import Listener, Pace
from edge.sections import SourceSettings
from edge.sources import open_source
from edge.sources.base import Block, Source

log = structlog.get_logger()

Named = tuple[str, Pace, Source]
"""An open source: its name in events, how its sound comes, and itself."""

LIVE_KINDS = ("microphone", "url")
"""Kinds of source that do not wait for whoever hears them."""


def open_sources(settings: Settings) -> list[Named]:
    """Open each source that the settings name.

    Raises:
        UserError: a setting is wrong, or no source at all can be used. One of several that cannot be used is
            opened all the same; its listener then tells why.
    """
    if not settings.sources:
        only = open_source(settings.source)
        return [(only.name, _pace(settings.source), only)]
    opened: list[Named] = []
    faults: list[AudioError] = []
    for named in settings.sources:
        source: Source
        try:
            source = open_source(named)
        except AudioError as error:
            faults.append(error)
            source = _Unusable(named.name, error)
        opened.append((named.name, _pace(named), source))
    if len(faults) == len(opened):
        raise faults[0]
    return opened


def _stop(listener: Listener) -> None:
    try:
        listener.stop()
    except Exception:  # one that cannot be closed must not keep another one's device
        log.exception("source_not_closed", source=listener.name, action="report this; the others are closed")


def _pace(settings: SourceSettings) -> Pace:
    if settings.kind in LIVE_KINDS:
        return "live"
    return settings.pace if settings.kind in ("file", "folder") else "realtime"


class _Unusable:
    """Stands for a source that could not be opened."""

    sample_rate_hz, channels = 1, 1

    def __init__(self, name: str, fault: AudioError) -> None:
        self.name = name
        self.trouble = str(fault)
        self._fault = fault

    def blocks(self) -> Iterator[Block]:
        raise self._fault

    def close(self) -> None:
        pass


class Listeners:
    """Started together, ended together."""

    def __init__(self, listeners: Iterable[Listener]) -> None:
        """Take over listeners that have not been started."""
        self._listeners = tuple(listeners)
        self._stopped_at: float | None = None

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._listeners)

    def start(self) -> None:
        """Begin to listen."""
        for listener in self._listeners:
            listener.start()

    def stop(self) -> None:
        """Close every source, whatever it does; from any thread."""
        self._stopped_at = self._stopped_at or time.monotonic()
        for listener in self._listeners:
            _stop(listener)

    @property
    def stopping_s(self) -> float:
        """Seconds since `stop` was called; 0 before."""
        return 0.0 if self._stopped_at is None else time.monotonic() - self._stopped_at

    def wait(self, timeout_s: float) -> bool:
        """Wait for so long at most; whether all are done."""
        deadline = time.monotonic() + timeout_s
        for listener in self._listeners:
            listener.join(max(0.0, deadline - time.monotonic()))
        return all(listener.is_done for listener in self._listeners)

    @property
    def defect(self) -> Exception | None:
        """What ended a listener that was no fault of its source: the program must start anew to hear it again."""
        errors = (listener.error for listener in self._listeners)
        return next((error for error in errors if error is not None and not isinstance(error, UserError)), None)

    def raise_error(self) -> None:
        """Raise what ended a listener before its time, if anything did; a defect before any source's fault."""
        errors = [listener.error for listener in self._listeners if listener.error is not None]
        if errors:
            raise self.defect or errors[0]

    def stuck(self, silence_s: float) -> str:
        """Why one of them is not alive, in one line; empty while all are. See `Listener.stuck`."""
        told = ((listener.name, listener.stuck(silence_s)) for listener in self._listeners)
        return next((f"{name}: {text}" for name, text in told if text), "")

    @property
    def trouble(self) -> str:
        """What troubles them, in one line, each with its name where there are several."""
        told = [(listener.name, listener.trouble) for listener in self._listeners]
        alone = len(self._listeners) == 1
        return "; ".join(text if alone else f"{name}: {text}" for name, text in told if text)

    @property
    def lag_s(self) -> float:
        """How far the analysis is behind the sound, in seconds, where it is worst."""
        return max((listener.lag_s for listener in self._listeners), default=0.0)

    @property
    def last_audio_at(self) -> datetime | None:
        """When sound last came in, of any source."""
        return max((at for at in (each.last_audio_at for each in self._listeners) if at), default=None)

    @property
    def last_inference_at(self) -> datetime | None:
        """When a window was last analysed, of any source."""
        return max((at for at in (each.last_inference_at for each in self._listeners) if at), default=None)
