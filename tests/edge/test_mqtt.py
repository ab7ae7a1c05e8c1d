"""Delivery by the publisher through real brokers: nothing lost, nothing late unsaid, the status true."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.mosquitto import free_port
from edge import mqtt
from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile, Row
from edge.sections import MqttSettings
from tests.brokers import Broker, Subscriber, eventually, mosquitto, retained
from tests.publishing import BASE, publish, put, status

pytestmark = pytest.mark.usefixtures("slow_broker")


@pytest.mark.broker
def test_events_arrive_in_order_and_leave_the_outbox(
    broker: Broker, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    put(outbox, "waited")
    with Subscriber(broker.port) as subscriber:
        publisher = publish(publishers, broker.port, outbox)
        eventually(lambda: subscriber.event_ids() == ["waited"], "the first event")
        put(outbox, *(f"live-{n}" for n in range(50)))
        publisher.notify()
        eventually(lambda: len(subscriber.event_ids()) == 51, "all events")
        eventually(lambda: outbox.depth == 0, "an empty outbox")
        assert subscriber.event_ids() == ["waited", *(f"live-{n}" for n in range(50))]
        # What was there before the connection has waited; what came during it has not.
        assert [event["historical"] for event in subscriber.payloads("/event")] == [True] + [False] * 50
        assert {message.qos for message in subscriber.messages} == {1}
    assert [entry["mqtt"] for entry in logs if entry["event"] == "broker_connected"] == ["5"]


def with_backlog(path: Path, names: list[str]) -> Outbox:
    rows = [
        Row(number, name, f"{BASE}/event", json.dumps({"event_id": name, "historical": False}).encode(), False)
        for number, name in enumerate(names, 1)
    ]
    file = OutboxFile(path, None)
    file.write(rows, (), None)
    file.close()
    return Outbox(path, max_mb=100, max_age_days=1)


@pytest.mark.broker
def test_backlog_of_10000_comes_in_order_and_holds_up_no_live_event(
    tmp_path: Path, broker: Broker, publishers: list[Publisher]
) -> None:
    names = [f"old-{number}" for number in range(10_000)]
    outbox = with_backlog(tmp_path / "backlog.db", names)
    with Subscriber(broker.port) as subscriber:
        publisher = publish(publishers, broker.port, outbox)
        for number in range(3):
            before = len(subscriber.messages)
            eventually(lambda: len(subscriber.messages) > before, "some of the backlog")  # noqa: B023
            put(outbox, f"live-{number}")
            publisher.notify()
        eventually(lambda: outbox.depth == 0, "delivery of all", 240.0)
        eventually(lambda: len(subscriber.payloads("/event")) == 10_003, "arrival of all")
        events = subscriber.payloads("/event")
    publisher.stop(5)
    outbox.close()
    order = [event["event_id"] for event in events]
    assert [name for name in order if name.startswith("old")] == names
    assert [event["event_id"] for event in events if not event["historical"]] == ["live-0", "live-1", "live-2"]
    assert order.index("live-2") < order.index("old-9999")


@pytest.mark.broker
def test_status_is_retained_online_and_offline_after_stop(
    broker: Broker, outbox: Outbox, publishers: list[Publisher]
) -> None:
    publisher = publish(publishers, broker.port, outbox)
    eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "online", "status online")
    assert retained(broker.port, f"{BASE}/status") == status()
    publisher.stop(5, "stopped")
    last = retained(broker.port, f"{BASE}/status")
    assert last is not None
    assert (last["state"], last["reason"]) == ("offline", "stopped")


@pytest.mark.broker
def test_stop_whose_time_is_over_leaves_the_rest_of_a_backlog_and_says_farewell(
    tmp_path: Path, broker: Broker, publishers: list[Publisher]
) -> None:
    outbox = with_backlog(tmp_path / "backlog.db", [f"old-{number}" for number in range(20_000)])
    publisher = publish(publishers, broker.port, outbox)
    eventually(lambda: outbox.depth < 20_000, "some of the backlog")
    publisher.stop(0, "the end")
    assert (retained(broker.port, f"{BASE}/status") or {})["reason"] == "the end"
    assert outbox.depth > 0
    outbox.close()


@pytest.mark.broker
def test_what_is_true_only_now_is_not_sent_when_a_connection_comes_later(
    broker: Broker, outbox: Outbox, publishers: list[Publisher]
) -> None:
    publisher = Publisher(MqttSettings(port=broker.port), BASE, outbox, status)
    publishers.append(publisher)
    publisher.send_live(f"{BASE}/respiration", b'{"rate_bpm":11}', "a")
    with Subscriber(broker.port) as subscriber:
        publisher.start()
        eventually(lambda: subscriber.states() == ["online"], "status online")
        publisher.send_live(f"{BASE}/respiration", b'{"rate_bpm":12}', "b")
        eventually(lambda: subscriber.payloads("/respiration") != [], "the rate")
        assert subscriber.payloads("/respiration") == [{"rate_bpm": 12}]


@pytest.mark.broker
@pytest.mark.parametrize("stable_s", [0.0, 3600.0])
def test_second_outage_is_told_too_and_its_pauses_are_short_if_the_connection_lasted(
    broker: Broker,
    outbox: Outbox,
    publishers: list[Publisher],
    monkeypatch: pytest.MonkeyPatch,
    logs: list[Any],
    stable_s: float,
) -> None:
    monkeypatch.setattr(mqtt, "_STABLE_S", stable_s)
    monkeypatch.setattr(mqtt, "_FIRST_PAUSE_S", 0.01)
    broker.kill()
    publisher = publish(publishers, broker.port, outbox)
    eventually(lambda: publisher._pause_s > 0.1, "some attempts")
    broker.start()
    eventually(lambda: publisher.is_connected, "a connection")
    before_s = publisher._pause_s
    broker.kill()
    eventually(lambda: publisher._pause_s != before_s, "the next attempt")
    assert (publisher._pause_s < before_s) == (stable_s == 0.0)
    eventually(lambda: [entry["event"] for entry in logs].count("broker_unreachable") == 2, "word of it")


@pytest.mark.broker
def test_status_is_online_again_after_broker_without_memory_returns(
    tmp_path: Path, broker: Broker, outbox: Outbox, publishers: list[Publisher]
) -> None:
    publisher = publish(publishers, broker.port, outbox)
    eventually(lambda: retained(broker.port, f"{BASE}/status") is not None, "status")
    broker.kill()
    eventually(lambda: not publisher.is_connected, "the end of the connection")
    (tmp_path / "broker" / "mosquitto.db").unlink(missing_ok=True)
    broker.start()
    eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "online", "status again")


@pytest.mark.broker
def test_absent_broker_is_told_once_and_gets_the_events_later(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        broker.keep_sessions()
        broker.kill()
        put(outbox, "early")
        publish(publishers, broker.port, outbox)
        eventually(lambda: any(entry["event"] == "broker_unreachable" for entry in logs), "word of the outage")
        threading.Event().wait(2.5)  # long enough for several attempts
        told = [entry for entry in logs if entry["log_level"] != "info"]
        assert [(entry["event"], entry["reason"]) for entry in told] == [("broker_unreachable", "Connection refused")]
        broker.start()
        eventually(lambda: subscriber.event_ids() == ["early"], "the event that waited")
    # A network failure never makes it speak the older version.
    assert [entry["mqtt"] for entry in logs if entry["event"] == "broker_connected"] == ["5"]


@pytest.mark.broker
def test_frozen_broker_gets_the_events_once_it_thaws(
    broker: Broker, outbox: Outbox, publishers: list[Publisher]
) -> None:
    with Subscriber(broker.port) as subscriber:
        publisher = publish(publishers, broker.port, outbox)
        eventually(lambda: subscriber.states() == ["online"], "status online")
        broker.send_signal(signal.SIGSTOP)
        put(outbox, *(f"event-{n}" for n in range(30)))
        publisher.notify()
        threading.Event().wait(0.5)
        assert outbox.depth == 30
        broker.send_signal(signal.SIGCONT)
        eventually(lambda: set(subscriber.event_ids()) == {f"event-{n}" for n in range(30)}, "all events")


def allowing(folder: Path, *rules: str) -> str:
    """Settings of a broker that allows this and nothing else."""
    file = folder / "rules"
    file.write_text("\n".join(rules) + "\n")
    file.chmod(0o644)
    return f"allow_anonymous true\nacl_file {file}"


@pytest.mark.broker
def test_events_that_the_broker_refuses_stay_in_the_outbox(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    with mosquitto(tmp_path / "broker", settings=allowing(tmp_path, f"topic write {BASE}/status")) as broker:
        put(outbox, "event")
        publish(publishers, broker.port, outbox)
        eventually(lambda: any(entry["event"] == "broker_refused_message" for entry in logs), "word of the refusal")
        threading.Event().wait(0.5)
    assert outbox.depth == 1


@contextmanager
def broker_that_refuses_what_waits(tmp_path: Path, outbox: Outbox) -> Iterator[Broker]:
    """Three events wait for a site that the device had before, which is forbidden to it now."""
    with mosquitto(tmp_path / "broker", settings=allowing(tmp_path, "topic read #", f"topic write {BASE}/#")) as broker:
        for number in range(3):
            outbox.put(f"old-{number}", "acula/ward-2/bed-12/event", b"{}")
        yield broker


@pytest.mark.broker
def test_events_pass_what_the_broker_refuses_for_ever(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    with broker_that_refuses_what_waits(tmp_path, outbox) as broker:
        put(outbox, "event-0")
        with Subscriber(broker.port) as subscriber:
            publisher = publish(publishers, broker.port, outbox)
            eventually(lambda: subscriber.event_ids() == ["event-0"], "what waited behind it")
            put(outbox, "event-1")
            publisher.notify()
            eventually(lambda: subscriber.event_ids() == ["event-0", "event-1"], "a new event")
            assert publisher.refusals.trouble.startswith("refuses messages on acula/ward-2/bed-12/event: ")
    assert outbox.depth == 3
    # mosquitto ends the connection after the refusal.
    assert [entry["event"] for entry in logs].count("broker_connected") <= 2


@pytest.mark.broker
def test_stop_does_not_wait_for_what_the_broker_refuses(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    with broker_that_refuses_what_waits(tmp_path, outbox) as broker:
        publisher = publish(publishers, broker.port, outbox)
        eventually(lambda: bool(publisher.refusals.trouble), "the refusal")
        put(outbox, "last")
        stopping = threading.Thread(target=publisher.stop, args=(3600.0, "the end"), daemon=True)
        stopping.start()
        eventually(lambda: not stopping.is_alive(), "its end")
        assert (retained(broker.port, f"{BASE}/status") or {})["reason"] == "the end"
    # What the broker takes has gone out.
    assert [row.event_id for row in outbox.pending(10)] == ["old-0", "old-1", "old-2"]


@pytest.mark.broker
def test_outbox_with_a_damaged_page_is_told_in_the_status_and_delivers_what_comes_anew(
    tmp_path: Path, broker: Broker, publishers: list[Publisher], logs: list[Any]
) -> None:
    path = tmp_path / "damaged.db"
    outbox = Outbox(path, max_mb=10, max_age_days=1)
    put(outbox, *(f"old-{n}" for n in range(200)))
    outbox.close()
    content = path.read_bytes()
    page = content.rfind(b"old-100") // 4096 * 4096
    path.write_bytes(content[:page] + b"\xff" * 4096 + content[page + 4096 :])
    outbox = Outbox(path, max_mb=10, max_age_days=1)

    def troubled() -> dict[str, Any]:
        return {**status(), "state": "degraded" if outbox.trouble else "online", "reason": outbox.trouble}

    with Subscriber(broker.port) as subscriber:
        publisher = Publisher(MqttSettings(port=broker.port), BASE, outbox, troubled)
        publishers.append(publisher)
        publisher.start()
        eventually(lambda: subscriber.states()[-1:] == ["degraded"], "the trouble in the status")
        put(outbox, "new")
        publisher.notify()
        eventually(lambda: {"new", "old-0", "old-199"} <= set(subscriber.event_ids()), "what can be read")
    publisher.stop(0)
    outbox.close()
    assert [entry["event"] for entry in logs][:3] == ["broker_connected", "outbox_damaged", "outbox_salvaged"]


@pytest.mark.broker
def test_publisher_that_fails_does_not_stay_online(
    broker: Broker, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    fails = threading.Event()

    def failing_status() -> dict[str, Any]:
        if fails.is_set():
            raise RuntimeError("a defect")
        return status()

    publisher = Publisher(MqttSettings(port=broker.port), BASE, outbox, failing_status)
    publishers.append(publisher)
    publisher.start()
    eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "online", "status online")
    fails.set()
    eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "offline", "the will")
    # Of what changes nobody knows how it is now.
    unknown = dict.fromkeys(("last_audio_at", "last_inference_at", "outbox_depth"))
    told = {**status(), **unknown, "state": "offline", "reason": "connection lost"}
    assert retained(broker.port, f"{BASE}/status") == told
    # By now it may have tried again.
    assert [entry["event"] for entry in logs][:2] == ["broker_connected", "mqtt_failed"]


@pytest.mark.broker
def test_stop_without_a_broker_ends_in_time_and_keeps_the_events(outbox: Outbox, publishers: list[Publisher]) -> None:
    put(outbox, "event")
    publisher = publish(publishers, free_port(), outbox)
    publisher.stop(0.5)
    eventually(lambda: not publisher._thread.is_alive(), "its end")
    assert outbox.depth == 1
