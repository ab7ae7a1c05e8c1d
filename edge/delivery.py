"""What is done while a connection to the broker stands.

Does: sends waiting messages oldest first and one at a time, deletes each once it is acknowledged, lets what happens
now overtake what has waited through an outage, keeps the retained status true, and lets the dialogues hear and speak.
Does not: open, lose or reopen the connection (`edge.mqtt`).

One at a time: a crash at any moment repeats one message at most, and an order that was begun is kept when a connection
breaks. It costs a round trip for each message of a backlog, which nothing waits for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from edge.connection import BrokerError, Connection
from edge.dialogue import Dialogue, Heard, Said
from edge.guard import Guard
from edge.outbox import Outbox
from edge.outbox_file import Row
from edge.payloads import as_historical, to_bytes
from edge.refusals import Refusals

log = structlog.get_logger()

_STEP_S = 1.0
_MAINTENANCE_S = 5.0
_STATUS_S = 60.0
_ANSWER_S = 120.0
"""A broker that answers pings but not a message has lost it; only a new connection may send it again."""


class Delivery:
    """Serves one connection; the thread that owns the connection calls."""

    def __init__(
        self,
        connection: Connection,
        outbox: Outbox,
        status_topic: str,
        status: Callable[[], dict[str, Any]],
        refusals: Refusals,
        guard: Guard,
        dialogues: Sequence[Dialogue] = (),
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        """Take up a connection that the broker has just accepted.

        Messages that were in the outbox before now have waited through an outage or a restart: they are marked
        historical, as are those that wait because the broker refuses their topic. `refusals`: those of earlier
        connections. `guard` calls the dialogues. `on_refusal` is called for each refusal.
        """
        self._refusals = refusals
        self._late: dict[str, int] = {}
        """By topic that was refused: the number of the last message that has waited for it to be tried again."""
        self._on_refusal = on_refusal
        self._connection = connection
        self._outbox = outbox
        self._status_topic = status_topic
        self._status = status
        self._last_historical = outbox.last_number
        self._passed_for: frozenset[str] = frozenset()
        self._passed: int | None = None
        """While the topics `_passed_for` rest: nothing on another one waits up to this number."""
        self._in_flight: tuple[int, Row] | None = None
        """The message from the outbox in flight, and the number that its acknowledgement will carry."""
        self._sent_at = 0.0
        self._is_live_next = True
        self._guard = guard
        self._dialogues = dialogues
        self._said: deque[Said] = deque()
        """What the dialogues say, until the broker takes more."""
        self._unanswered: set[int] = set()
        """Messages of the dialogues in flight."""
        self._status_message: int | None = None
        self._summary: tuple[Any, ...] | None = None
        self._status_due = 0.0
        self._maintenance_due = 0.0
        self._refusal_told = False
        for dialogue in dialogues:
            for topic in dialogue.subscriptions:
                connection.subscribe(topic)
            guard.call(type(dialogue).__name__, dialogue.greet)

    @property
    def is_idle(self) -> bool:
        """Nothing is in flight, and nothing waits but on topics that rest."""
        resting = frozenset(self._refusals.resting(time.monotonic()))
        return not (self._waiting_for_answers or self._said or self._oldest(resting))

    def turn(self) -> None:
        """Send what may be sent, then wait for the network, for new messages, or for a second at most.

        Raises:
            BrokerError: the connection has ended, or is of no use any more.
        """
        now = time.monotonic()
        if now >= self._maintenance_due:
            self._maintenance_due = now + _MAINTENANCE_S
            self._outbox.maintain()
        self._send_status(now)
        self._converse()
        self._send_waiting(now)
        self._connection.step(_STEP_S)
        self._settle()

    def take_leave(self, reason: str, timeout_s: float) -> None:
        """Leave `offline` behind as status, and wait for the broker to have it.

        A clean disconnect does not release the will, so this has to be said.

        Raises:
            BrokerError: the connection has ended, and the will says it instead.
        """
        self._converse()
        farewell = to_bytes({**self._status(), "state": "offline", "reason": reason})
        self._status_message = self._connection.send(self._status_topic, farewell, retain=True)
        deadline = time.monotonic() + timeout_s
        while self._status_message is not None and time.monotonic() < deadline:
            self._connection.step(_STEP_S)
            self._settle()

    @property
    def _may_send(self) -> bool:
        """Whether the broker takes one more message before it acknowledges."""
        return self._waiting_for_answers < self._connection.receive_maximum

    @property
    def _waiting_for_answers(self) -> int:
        return (self._in_flight is not None) + (self._status_message is not None) + len(self._unanswered)

    def _send_status(self, now: float) -> None:
        """Say the status at once, whenever it changes, and every minute so that its times stay fresh."""
        if self._status_message is not None or not self._may_send:
            return
        status = self._status()
        summary = (status["state"], status["reason"], status.get("update"), status.get("thresholds"))
        if summary != self._summary or now >= self._status_due:
            self._summary = summary
            self._status_due = now + _STATUS_S
            self._status_message = self._connection.send(self._status_topic, to_bytes(status), retain=True)

    def _converse(self) -> None:
        heard = self._connection.take_heard()
        for dialogue in self._dialogues:
            self._guard.call(type(dialogue).__name__, self._let_speak, dialogue, heard)
        while self._said and self._may_send:
            said = self._said.popleft()
            self._unanswered.add(self._connection.send(said.topic, said.payload, retain=said.retain))

    def _let_speak(self, dialogue: Dialogue, heard: list[Heard]) -> None:
        for message in heard:
            if message.topic in dialogue.subscriptions:
                dialogue.hear(message)
        self._said.extend(dialogue.say())

    def _send_waiting(self, now: float) -> None:
        if self._in_flight is not None and now - self._sent_at > _ANSWER_S:
            raise BrokerError("lost", f"a message was not acknowledged within {_ANSWER_S:g} s")
        if self._in_flight is not None or not self._may_send:
            return
        resting = frozenset(self._refusals.resting(now))
        row = self._next(resting)
        if row is None:
            if not resting:
                self._refusals.clear()  # of what was refused nothing waits any more
            return
        if row.topic in self._refusals:
            # What was refused, and what came on its topic during the pause after it, is late by now.
            self._late[row.topic] = self._outbox.last_number
        is_late = row.number <= max(self._last_historical, self._late.get(row.topic, 0))
        payload = as_historical(row.payload) if is_late else row.payload
        self._in_flight, self._sent_at = (self._connection.send(row.topic, payload), row), now

    def _next(self, resting: frozenset[str]) -> Row | None:
        """The oldest message; while a backlog waits, every other time the oldest of those that came since."""
        oldest = self._oldest(resting)
        backlog = max([self._last_historical, *self._late.values()])
        if oldest is None or oldest.number > backlog:
            return oldest
        self._is_live_next = not self._is_live_next
        if not self._is_live_next:
            return oldest
        live = self._outbox.pending(1, without_topics=resting, after=backlog)
        return next(iter(live), oldest)

    def _oldest(self, resting: frozenset[str]) -> Row | None:
        """The oldest message on no topic that rests. Thousands of those may lie before it: they are passed once."""
        if resting != self._passed_for:
            self._passed_for, self._passed = resting, None
        newest = self._outbox.last_number
        oldest = next(iter(self._outbox.pending(1, without_topics=resting, after=self._passed)), None)
        if resting:
            self._passed = newest if oldest is None else oldest.number - 1
        return oldest

    def _settle(self) -> None:
        for acknowledgement in self._connection.take_acknowledgements():
            self._unanswered.discard(acknowledgement.message)
            if acknowledgement.message == self._status_message:
                self._status_message = None
            row = None
            if self._in_flight is not None and acknowledgement.message == self._in_flight[0]:
                row = self._in_flight[1]
                self._in_flight = None
            if acknowledgement.refusal:
                self._on_refusal()
                self._tell_refusal(acknowledgement.refusal, row.topic if row else "")
                if row is not None:
                    self._refusals.add(row.topic, acknowledgement.refusal, time.monotonic())
            elif row is not None:
                self._refusals.remove(row.topic)
                self._outbox.delete([row.event_id])

    def _tell_refusal(self, refusal: str, topic: str) -> None:
        """The broker took a message's number but not the message (a quota, no permission); it is sent again later."""
        if not self._refusal_told:
            self._refusal_told = True
            log.warning(
                "broker_refused_message",
                reason=refusal,
                topic=topic,
                waiting=self._outbox.depth,
                action="check the broker's permissions and quotas; trying again",
            )
