"""What is sent when, and what is not, from a connection that plays the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from edge import delivery
from edge.connection import BrokerError
from edge.dialogue import Heard
from edge.outbox import Outbox
from tests.delivering import EVENT, STATUS, Parrot, PlayedBroker, deliver, put
from tests.outboxes import disk_without_room, open_outbox


def test_status_is_told_when_it_changes_and_every_minute(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    status: dict[str, Any] = {"state": "online", "reason": "", "outbox_depth": 0}
    served = deliver(broker := PlayedBroker(set()), outbox, status=status)

    def told() -> bool:
        before = len(broker.statuses)
        for _ in range(3):
            served.turn()
        assert broker.statuses[-1] == status
        return len(broker.statuses) == before + 1

    assert told()
    for change in (
        {"state": "degraded"},
        {"reason": "no sound"},
        {"update": {"state": "probation"}},
        {"thresholds": {}},
    ):
        status |= change
        assert told()
    now += 59.0
    assert not told()
    status["outbox_depth"] = 7
    now += 2.0
    assert told()


def test_live_events_overtake_a_backlog_that_keeps_its_order(outbox: Outbox) -> None:
    for number in range(10):
        put(outbox, f"old-{number}")
    broker = PlayedBroker(set())
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
    broker = PlayedBroker(set())
    served = deliver(broker, outbox)
    for number in range(6):
        put(outbox, f"live-{number}")
        served.turn()
    assert {"old-0", "old-1"} <= set(broker.events)


def test_events_of_a_file_that_could_not_be_opened_at_first_are_delivered_once_it_can(tmp_path: Path) -> None:
    earlier = open_outbox(tmp_path / "late.db")
    put(earlier, "earlier")
    earlier.close()
    broker = PlayedBroker(set())
    with disk_without_room(), capture_logs():
        outbox = open_outbox(tmp_path / "late.db")
        served = deliver(broker, outbox)
        put(outbox, "live")
        served.turn()
    outbox.maintain()
    served.turn()
    assert broker.events == {"live": False, "earlier": True}
    outbox.close()


def test_broker_that_takes_one_message_at_a_time_gets_no_more(outbox: Outbox) -> None:
    parrot = Parrot("acula/site/device/command")
    broker = PlayedBroker(set())
    broker.receive_maximum, broker.ignored = 1, {STATUS, EVENT, f"{parrot.subscriptions[0]}/said"}
    served = deliver(broker, outbox, None, parrot)
    broker.heard = [Heard(parrot.subscriptions[0], word, False) for word in (b"one", b"two")]
    put(outbox, "event-0")
    put(outbox, "event-1")
    for asked in range(1, 6):
        for _ in range(3):
            served.turn()
        assert broker.asked == asked
        assert not served.is_idle
        broker.answer()
    for _ in range(3):
        served.turn()
    assert served.is_idle
    assert set(broker.events) == {"event-0", "event-1"}


def test_connection_on_which_an_event_is_not_acknowledged_is_given_up_and_the_event_kept(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now)
    broker = PlayedBroker(set())
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


def test_message_that_is_no_json_is_sent_as_it_is_and_holds_nothing_up(outbox: Outbox) -> None:
    outbox.put("odd", "acula/site/device/odd", b"\xff not json")
    put(outbox, "event")
    served = deliver(broker := PlayedBroker(set()), outbox)
    served.turn()
    served.turn()
    assert broker.events == {"event": True}
    assert outbox.depth == 0


def test_each_dialogue_hears_its_own_topics_alone(outbox: Outbox) -> None:
    broker = PlayedBroker(set())
    served = deliver(broker, outbox, None, Parrot("one"), Parrot("two"))
    broker.heard = [Heard("two", b"word", False)]
    served.turn()
    assert [topic for topic in broker.topics if topic != STATUS] == ["two/said"]
