"""A delivery whose connection and broker a test plays: each turn does what it does, and no more, in a known order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast

from edge.connection import Acknowledgement, Connection
from edge.delivery import Delivery
from edge.dialogue import Dialogue, Heard, Said
from edge.guard import Guard
from edge.outbox import Outbox
from edge.refusals import Refusals

EVENT, STATUS = "acula/site/device/event", "acula/site/device/status"
OTHER = "acula/old/device/event"


class PlayedBroker:
    """A connection, and a broker that acknowledges each message at once, with a refusal on topics that it forbids."""

    receive_maximum = 65_535

    def __init__(self, forbidden: set[str]) -> None:
        self.forbidden = forbidden
        self.ignored: set[str] = set()
        self.events: dict[str, bool] = {}
        """`historical` of the events that were taken, by event_id."""
        self.topics: list[str] = []
        """Of all messages, in order."""
        self.statuses: list[dict[str, Any]] = []
        self.heard: list[Heard] = []
        self._answers: list[Acknowledgement] = []

    @property
    def asked(self) -> int:
        return len(self.topics)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        assert retain == (topic == STATUS)
        self.topics.append(topic)
        if topic not in self.ignored:
            self.answer("not authorized" if topic in self.forbidden else "")
        if topic == STATUS:
            self.statuses.append(json.loads(payload))
        if topic == EVENT and topic not in self.forbidden:
            event = json.loads(payload)
            self.events[event["event_id"]] = event["historical"]
        return self.asked

    def answer(self, refusal: str = "") -> None:
        """Acknowledge the last message."""
        self._answers.append(Acknowledgement(self.asked, refusal))

    def subscribe(self, topic: str) -> None:
        pass

    def take_acknowledgements(self) -> list[Acknowledgement]:
        taken, self._answers = self._answers, []
        return taken

    def take_heard(self) -> list[Heard]:
        taken, self.heard = self.heard, []
        return taken

    def step(self, timeout_s: float) -> None:
        assert timeout_s > 0


def put(outbox: Outbox, event_id: str) -> None:
    outbox.put(event_id, EVENT, json.dumps({"event_id": event_id, "historical": False}).encode())


class Parrot:
    """A dialogue that says what it hears on its topic."""

    def __init__(self, topic: str) -> None:
        self.subscriptions = (topic,)
        self.words: list[bytes] = []

    def greet(self) -> None:
        pass

    def hear(self, message: Heard) -> None:
        self.words.append(message.payload)

    def say(self) -> list[Said]:
        said, self.words = [Said(f"{self.subscriptions[0]}/said", word) for word in self.words], []
        return said


def deliver(
    broker: PlayedBroker,
    outbox: Outbox,
    refusals: Refusals | None = None,
    *dialogues: Dialogue,
    status: dict[str, Any] | None = None,
    on_refusal: Callable[[], None] = lambda: None,
) -> Delivery:
    told = status if status is not None else {"state": "online", "reason": ""}
    guard = Guard("dialogue_failed")
    connection, refused = cast(Connection, broker), refusals or Refusals()
    return Delivery(connection, outbox, STATUS, lambda: told, refused, guard, dialogues, on_refusal)
