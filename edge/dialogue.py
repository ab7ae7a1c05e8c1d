"""What else is said and heard on the connection, besides the outbox and the status.

Does: names what a part must offer to take part: commands and Home Assistant do. Does not: send or receive
(`edge.delivery` does, on its behalf).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Heard:
    """A message from the broker."""

    topic: str
    payload: bytes
    retained: bool
    """Whether the broker keeps it: then nobody knows how old it is."""


@dataclass(frozen=True)
class Said:
    """A message to the broker, with QoS 1; one that a broken connection swallows is not repeated."""

    topic: str
    payload: bytes
    retain: bool = False


class Dialogue(Protocol):
    """Called by the publisher's thread alone, which waits for it: it must not wait for anything."""

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topics without wildcards whose messages it hears."""

    def greet(self) -> None:
        """A connection begins; what the broker knew may be gone."""

    def hear(self, message: Heard) -> None:
        """A message on one of its topics."""

    def say(self) -> list[Said]:
        """What is to be sent now; asked about once a second, and soon after `Publisher.notify`."""
