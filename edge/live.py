"""What is true only now: messages of which the newest alone counts, sent once and never stored.

Does: keeps the newest payload of each key until the connection's thread takes it. Does not: send (`edge.mqtt` does), or
hold anything for a time without a connection: a live value that waited would be a wrong one.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable


class LiveMessages:
    """Put from any thread, take from the publisher's."""

    def __init__(self) -> None:
        """Empty."""
        self._newest: dict[Hashable, tuple[str, bytes]] = {}
        self._lock = threading.Lock()

    def put(self, key: Hashable, topic: str, payload: bytes) -> None:
        """Replace what waits under this key."""
        with self._lock:
            self._newest[key] = (topic, payload)

    def take(self) -> list[tuple[str, bytes]]:
        """Topic and payload of all that waits, which then waits no more."""
        with self._lock:
            taken, self._newest = list(self._newest.values()), {}
        return taken
