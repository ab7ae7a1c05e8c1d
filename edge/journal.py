"""What this run has heard: gives each event its identity and its time, and puts it into the outbox.

Does: numbers the events of all listeners of this run, stores them, and tells the hooks and the publisher. Does not:
find events or send them. Any listener's thread may call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog
from uuid6 import uuid7

from edge import clock
from edge.corrections import Corrections
from edge.events import Event
from edge.hooks import Hooks
from edge.outbox import Outbox
from edge.payloads import Origin, event_payload, to_bytes

if TYPE_CHECKING:
    from edge.listener import Listener

log = structlog.get_logger()


class Journal:
    """Writes to the outbox on behalf of all listeners."""

    def __init__(
        self,
        origin: Origin,
        base_topic: str,
        outbox: Outbox,
        *,
        corrections: Corrections,
        hooks: Hooks,
        notify: Callable[[], None],
    ) -> None:
        """corrections: takes note of events without a true time. notify: says that there is something to send."""
        self._origin = origin
        self._topic = f"{base_topic}/event"
        self._outbox = outbox
        self._corrections = corrections
        self._hooks = hooks
        self._notify = notify
        self._events = 0
        # Numbered and stored in one step, so that a message that waits has no hole before it.
        self._lock = threading.Lock()

    @property
    def events(self) -> int:
        """Events kept so far."""
        return self._events

    def keep(self, listener: Listener, event: Event) -> None:
        """Store an event of a listener; on return it is in the outbox."""
        event_id = str(uuid7())
        now = clock.read()
        anchor = listener.anchor(event.onset, now)
        origin = replace(self._origin, source=listener.name)
        with self._lock:
            payload = event_payload(origin, event, anchor, event_id=event_id, seq=self._events)
            self._outbox.put(event_id, self._topic, to_bytes(payload))
            self._events += 1
            if not now.synchronised:
                times_s = {"onset": listener.recorded_s(event.onset), "offset": listener.recorded_s(event.offset)}
                self._corrections.note(event_id, self._topic, payload, times_s)
        self._notify()
        log.info(
            "event",
            label=event.label,
            onset=payload["onset"],
            score=payload["score"],
            source=listener.name,
            event_id=event_id,
        )
        self._hooks.event(listener, event, payload)
