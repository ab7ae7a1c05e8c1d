"""Who else wants to know of what is heard: lists of plain functions, called one after another.

Does: calls them, and keeps the failure of one from the others and from listening. Does not: know what they do, or keep
anything for them.

All are called in the thread that analyses the listener's sound, in the order of the sound: a block, then the windows
that it completes, then their events. They must not wait for anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edge.guard import Guard

if TYPE_CHECKING:
    from edge.analysis import Analysed
    from edge.events import Event
    from edge.listener import Listener
    from edge.sources.base import Block
    from edge.track import TrackChunk


class Hooks:
    """Append a function to a list before the listeners start."""

    def __init__(self) -> None:
        """No function yet."""
        self.on_block: list[Callable[[Listener, Block], None]] = []
        """A block, before it is analysed; a jump of its position is a gap."""
        self.on_window: list[Callable[[Listener, Analysed], None]] = []
        """A window and what the model says of it."""
        self.on_scores: list[Callable[[Listener, TrackChunk], None]] = []
        """Finished frames of the fused scores; a jump of the start frame is a gap."""
        self.on_event: list[Callable[[Listener, Event, dict[str, Any]], None]] = []
        """An event (absolute sample indices at the bundle's rate) and its payload, once it is in the outbox."""
        self.on_respiration: list[Callable[[Listener, dict[str, Any]], None]] = []
        """The payload of a reading of the breathing rate."""
        self._guard = Guard("observer_failed")

    @property
    def trouble(self) -> str:
        """Who fails; empty while nobody does."""
        return self._guard.trouble

    def block(self, listener: Listener, block: Block) -> None:
        """Pass a block on."""
        self._call(self.on_block, listener, block)

    def window(self, listener: Listener, analysed: Analysed) -> None:
        """Pass a window on."""
        self._call(self.on_window, listener, analysed)

    def scores(self, listener: Listener, chunk: TrackChunk) -> None:
        """Pass scores on."""
        self._call(self.on_scores, listener, chunk)

    def event(self, listener: Listener, event: Event, payload: dict[str, Any]) -> None:
        """Pass an event on."""
        self._call(self.on_event, listener, event, payload)

    def respiration(self, listener: Listener, payload: dict[str, Any]) -> None:
        """Pass a reading of the breathing rate on."""
        self._call(self.on_respiration, listener, payload)

    def _call(self, functions: list[Callable[..., None]], *arguments: Any) -> None:
        for function in functions:
            self._guard.call(getattr(function, "__qualname__", repr(function)), function, *arguments)
