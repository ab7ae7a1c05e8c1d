"""What a refusal does, from a connection that plays the broker: mosquitto 2.0.11 ends the connection after one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from edge import delivery
from edge.connection import Acknowledgement, BrokerError, Connection
from edge.delivery import Delivery
from edge.dialogue import Heard
from edge.guard import Guard
from edge.outbox import Outbox
from edge.refusals import LONGEST_PAUSE_S, PAUSE_S, Refusals

EVENT, STATUS = "acula/site/device/event", "acula/site/device/status"


class Broker:
    """Acknowledges each message at once, with a refusal on the topics that it forbids."""

    receive_maximum = 65_535

    def __init__(self, forbidden: set[str]) -> None:
        self.forbidden = forbidden
        self.ignored: set[str] = set()
        self.events: dict[str, bool] = {}
        """`historical` of the events that were taken, by event_id."""
        self.asked = 0
        self._answers: list[Acknowledgement] = []

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        assert retain == (topic == STATUS)
        self.asked += 1
        if topic not in self.ignored:
            self._answers.append(Acknowledgement(self.asked, "not authorized" if topic in self.forbidden else ""))
        if topic == EVENT and topic not in self.forbidden:
            event = json.loads(payload)
            self.events[event["event_id"]] = event["historical"]
        return self.asked

    def take_acknowledgements(self) -> list[Acknowledgement]:
        taken, self._answers = self._answers, []
        return taken

    def take_heard(self) -> list[Heard]:
        return []

    def step(self, timeout_s: float) -> None:
        assert timeout_s > 0


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db", max_mb=10, max_age_days=1)
    yield outbox
    outbox.close()


def put(outbox: Outbox, event_id: str) -> None:
    outbox.put(event_id, EVENT, json.dumps({"event_id": event_id, "historical": False}).encode())


def deliver(broker: Broker, outbox: Outbox, refusals: Refusals | None = None) -> Delivery:
    status = {"state": "online", "reason": ""}
    guard = Guard("dialogue_failed")
    return Delivery(cast(Connection, broker), outbox, STATUS, lambda: status, refusals or Refusals(), guard)


def test_events_that_were_refused_and_taken_later_are_historical(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    broker = Broker({EVENT})
    served = deliver(broker, outbox)
    put(outbox, "refused")
    served.turn()
    asked = broker.asked
    put(outbox, "behind-it")
    broker.forbidden.clear()
    served.turn()
    assert broker.asked == asked  # its topic is given time
    now += 31.0
    served.turn()
    served.turn()
    put(outbox, "live")
    served.turn()
    assert broker.events == {"refused": True, "behind-it": True, "live": False}
    assert outbox.depth == 0


def test_topic_that_is_refused_for_ever_holds_up_no_other(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a device got another site: its broker forbids what waits on the topics of the old one."""
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    for number in range(5):
        outbox.put(f"old-{number}", "acula/old/device/event", b"{}")
    put(outbox, "waited")
    broker = Broker({"acula/old/device/event"})
    refusals = Refusals()
    served = deliver(broker, outbox, refusals)
    for number in range(10):
        put(outbox, f"event-{number}")
        for _ in range(6):
            served.turn()
            now += 1.0
    assert broker.events == {"waited": True} | {f"event-{number}": False for number in range(10)}
    assert outbox.depth == 5
    assert refusals.trouble == "refuses messages on acula/old/device/event: not authorized"
    assert broker.asked < 30  # the old ones were tried now and then
    broker.forbidden.clear()
    now += LONGEST_PAUSE_S
    served.turn()
    put(outbox, "fresh")
    for _ in range(2):
        served.turn()
    assert broker.events["fresh"] is False  # it need not wait for all of the old ones
    for _ in range(10):
        served.turn()
    assert outbox.depth == 0
    assert refusals.trouble == ""


def test_refusal_is_over_when_nothing_that_was_refused_waits(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    put(outbox, "old")
    refusals = Refusals()
    broker = Broker({EVENT})
    served = deliver(broker, outbox, refusals)
    served.turn()
    assert refusals.trouble == f"refuses messages on {EVENT}: not authorized"
    outbox.delete(["old"])  # as when it has waited too long
    now += 31.0
    served.turn()
    assert refusals.trouble == ""


def test_connection_on_which_an_event_is_not_acknowledged_is_given_up_and_the_event_kept(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    broker = Broker(set())
    broker.ignored = {EVENT}
    served = deliver(broker, outbox)
    put(outbox, "event")
    served.turn()
    now += 119.0
    served.turn()
    now += 2.0
    with pytest.raises(BrokerError, match="not acknowledged within 120 s"):
        served.turn()
    assert outbox.depth == 1


def test_refused_status_delays_no_event(outbox: Outbox) -> None:
    broker = Broker({STATUS})
    served = deliver(broker, outbox)
    served.turn()
    put(outbox, "event")
    served.turn()
    assert broker.events == {"event": False}


def test_live_events_overtake_a_backlog_that_keeps_its_order(outbox: Outbox) -> None:
    for number in range(10):
        put(outbox, f"old-{number}")
    broker = Broker(set())
    served = deliver(broker, outbox)
    served.turn()
    put(outbox, "live-0")
    put(outbox, "live-1")
    for _ in range(11):
        served.turn()
    assert outbox.depth == 0
    order = list(broker.events)
    assert order.index("live-1") < order.index("old-6")
    assert [event_id for event_id in order if event_id.startswith("old")] == [f"old-{number}" for number in range(10)]
    assert order.index("live-0") < order.index("live-1")
    assert [event_id for event_id, historical in broker.events.items() if not historical] == ["live-0", "live-1"]


def test_backlog_is_not_held_up_by_live_events_that_never_end(outbox: Outbox) -> None:
    put(outbox, "old-0")
    put(outbox, "old-1")
    broker = Broker(set())
    served = deliver(broker, outbox)
    for number in range(6):
        put(outbox, f"live-{number}")
        served.turn()
    assert {"old-0", "old-1"} <= set(broker.events)


def test_message_that_is_no_json_is_sent_as_it_is_and_holds_nothing_up(outbox: Outbox) -> None:
    outbox.put("odd", "acula/site/device/odd", b"\xff not json")
    put(outbox, "event")
    served = deliver(broker := Broker(set()), outbox)
    served.turn()
    served.turn()
    assert broker.events == {"event": True}
    assert outbox.depth == 0


def test_topic_that_is_refused_again_rests_twice_as_long_up_to_a_limit() -> None:
    refusals, now = Refusals(), 0.0
    rests = []
    for _ in range(7):
        refusals.add(EVENT, "not authorized", now)
        rest = next(seconds for seconds in range(1000) if not refusals.resting(now + seconds))
        rests.append(rest)
        now += rest
    assert rests[:3] == [PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S]
    assert rests[-1] == LONGEST_PAUSE_S
    refusals.remove(EVENT)
    refusals.add(EVENT, "not authorized", now)
    assert refusals.resting(now + PAUSE_S - 1) == [EVENT]
    assert not refusals.resting(now + PAUSE_S)
