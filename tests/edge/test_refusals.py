"""What a refusal does, from a connection that plays the broker: mosquitto 2.0.11 ends the connection after one."""

from __future__ import annotations

from typing import Any

import pytest

from edge import delivery
from edge.outbox import Outbox
from edge.refusals import LONGEST_PAUSE_S, PAUSE_S, Refusals
from tests.delivering import EVENT, OTHER, STATUS, PlayedBroker, deliver, put


def test_events_that_were_refused_and_taken_later_are_historical(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, refused = 1000.0, 0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)

    def count() -> None:
        nonlocal refused
        refused += 1

    broker = PlayedBroker({EVENT})
    served = deliver(broker, outbox, on_refusal=count)
    put(outbox, "refused")
    served.turn()
    assert refused == 1
    asked = broker.asked
    for number in range(5):
        put(outbox, f"behind-{number}")
    broker.forbidden.clear()
    served.turn()
    assert broker.asked == asked  # its topic is given time
    now += 31.0
    served.turn()
    put(outbox, "live")
    for _ in range(6):
        served.turn()
    late = ["refused", *(f"behind-{number}" for number in range(5))]
    assert broker.events == dict.fromkeys(late, True) | {"live": False}
    assert list(broker.events).index("live") < 3  # it need not wait for all of them
    assert outbox.depth == 0


def test_topic_that_is_refused_for_ever_holds_up_no_other(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    """As after a device got another site: its broker forbids what waits on the topics of the old one."""
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    for number in range(5):
        outbox.put(f"old-{number}", "acula/old/device/event", b"{}")
    put(outbox, "waited")
    broker = PlayedBroker({"acula/old/device/event"})
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
    assert [entry["event"] for entry in logs] == ["broker_refused_message"]
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


def test_backlog_beside_a_topic_that_rests_keeps_its_order_and_leaves_nothing_out(outbox: Outbox) -> None:
    outbox.put("other-0", OTHER, b"{}")
    old, live = [f"old-{number}" for number in range(5)], [f"live-{number}" for number in range(3)]
    for event_id in old:
        put(outbox, event_id)
    broker = PlayedBroker({OTHER})
    served = deliver(broker, outbox)
    served.turn()
    outbox.put("other-1", OTHER, b"{}")
    for event_id in live:
        put(outbox, event_id)
    for _ in range(8):
        served.turn()
    assert [event_id for event_id in broker.events if event_id.startswith("old")] == old
    assert set(broker.events) == {*old, *live}
    assert broker.topics.count(OTHER) == 1
    assert [row.event_id for row in outbox.pending(10)] == ["other-0", "other-1"]


def test_refusal_is_over_when_nothing_that_was_refused_waits(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    put(outbox, "old")
    refusals = Refusals()
    broker = PlayedBroker({EVENT})
    served = deliver(broker, outbox, refusals)
    served.turn()
    assert refusals.trouble == f"refuses messages on {EVENT}: not authorized"
    outbox.delete(["old"])  # as when it has waited too long
    now += 31.0
    served.turn()
    assert refusals.trouble == ""


def test_refused_status_delays_no_event(outbox: Outbox) -> None:
    broker = PlayedBroker({STATUS})
    served = deliver(broker, outbox)
    served.turn()
    put(outbox, "event")
    served.turn()
    assert broker.events == {"event": False}


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
