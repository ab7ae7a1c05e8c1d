"""Topics on which the broker takes no message: each is left alone for a while, so that it holds up no other.

A broker refuses by topic, for want of a permission, or everything, for want of room; then every topic rests. Pure.
"""

from __future__ import annotations

from collections.abc import Collection

PAUSE_S, LONGEST_PAUSE_S = 30.0, 600.0
"""So long after a refusal a topic is tried again, with one message; twice as long after each further one, since some
brokers (mosquitto 2.0.11) end the connection, too."""


class Refusals:
    """Kept over connections, by the thread that owns them; `trouble` may be asked from any thread."""

    def __init__(self) -> None:
        """Nothing refused yet."""
        self._refused: dict[str, tuple[float, float, str]] = {}
        """By topic: until when it rests, for how long that is, and why."""

    @property
    def trouble(self) -> str:
        """Which topics are refused and why; empty while none is."""
        return "; ".join(f"refuses messages on {topic}: {why}" for topic, (_, _, why) in list(self._refused.items()))

    def add(self, topic: str, reason: str, now_s: float) -> None:
        """A message on a topic was refused; times are of the monotonic clock."""
        _, before_s, _ = self._refused.get(topic, (0.0, PAUSE_S / 2, ""))
        pause_s = min(2 * before_s, LONGEST_PAUSE_S)
        self._refused[topic] = now_s + pause_s, pause_s, reason

    def remove(self, topic: str) -> None:
        """A message on a topic was taken."""
        self._refused.pop(topic, None)

    def clear(self) -> None:
        """Nothing that was refused waits any more."""
        self._refused.clear()

    def resting(self, now_s: float) -> Collection[str]:
        """The topics on which nothing is to be sent now."""
        return [topic for topic, (until_s, _, _) in self._refused.items() if now_s < until_s]

    def __contains__(self, topic: str) -> bool:
        """Whether the last message on a topic was refused."""
        return topic in self._refused
