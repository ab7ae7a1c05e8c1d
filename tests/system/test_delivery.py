"""No event is lost: brokers and daemons killed in the middle of their work."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench.mosquitto import free_port
from edge.outbox import Outbox
from edge.outbox_file import OutboxFile, Row
from tests.brokers import Subscriber, eventually, mosquitto
from tests.programs import BASE, ROOT, Daemon

pytestmark = pytest.mark.broker

Sounds = Callable[..., NDArray[np.float32]]

PUT = f"""
import json, os, signal, sys
from pathlib import Path
from edge.outbox import Outbox
outbox = Outbox(Path(sys.argv[1]), max_mb=10, max_age_days=1)
for number in range(int(sys.argv[2])):
    event_id = f"event-{{number}}"
    outbox.put(event_id, "{BASE}/event", json.dumps({{"event_id": event_id, "historical": False}}).encode())
os.kill(os.getpid(), signal.SIGKILL)
"""


def put_and_die(outbox: Path, events: int) -> set[str]:
    """A process that stores events and is killed before anybody publishes them."""
    killed = subprocess.run([sys.executable, "-c", PUT, str(outbox), str(events)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    return {f"event-{number}" for number in range(events)}


def payload(event_id: str) -> bytes:
    return json.dumps({"event_id": event_id, "historical": False}).encode()


def waiting(outbox: Path) -> set[str]:
    """What an outbox holds whose owner is dead."""
    database = sqlite3.connect(outbox)
    found = {row[0] for row in database.execute("SELECT event_id FROM message WHERE topic LIKE '%/event'")}
    database.close()
    return found


def has_more_than(subscriber: Subscriber, events: int) -> bool:
    return len(subscriber.event_ids()) > events


def silence(folder: Path) -> tuple[str, ...]:
    """Flags for a run that hears a second of silence and ends."""
    soundfile.write(folder / "silence.wav", np.zeros(16_000), 16_000)
    return ("--source.kind", "file", "--source.path", str(folder / "silence.wav"), "--source.pace", "fast")


def test_events_stored_by_a_killed_process_are_delivered_by_the_next(tiny_bundle_path: Path, tmp_path: Path) -> None:
    stored = put_and_die(tmp_path / "outbox.db", 50)
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        with Daemon(tiny_bundle_path, tmp_path, broker.port, *silence(tmp_path)) as daemon:
            assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: set(subscriber.event_ids()) == stored, "all stored events")
        assert len(subscriber.event_ids()) == 50
        assert all(event["historical"] for event in subscriber.payloads("/event"))
    assert waiting(tmp_path / "outbox.db") == set()


def test_broker_killed_in_a_burst_of_5000_loses_nothing(tiny_bundle_path: Path, tmp_path: Path) -> None:
    names = [f"event-{number}" for number in range(5000)]
    file = OutboxFile(tmp_path / "outbox.db", None)
    file.write(
        [Row(number, name, f"{BASE}/event", payload(name), False) for number, name in enumerate(names, 1)], (), None
    )
    file.close()
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port, qos=0) as subscriber:
        broker.keep_sessions()
        with Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
            eventually(lambda: len(subscriber.event_ids()) >= 200, "a part of the burst")
            broker.kill()
            daemon.wait_for("broker_unreachable")
            arrived = set(subscriber.event_ids())
            assert 200 <= len(arrived) < 5000
            broker.start()
            eventually(lambda: set(subscriber.event_ids()) == set(names), "the rest of the burst", 240.0)
            assert daemon.stop() == 0, daemon.errors()
            # Nothing but what was in flight may come twice, and the order holds across the kill.
            assert len(subscriber.event_ids()) <= 5000 + 1
            assert list(dict.fromkeys(subscriber.event_ids())) == names
    assert waiting(tmp_path / "outbox.db") == set()


def test_daemon_killed_while_it_detects_and_publishes_loses_nothing(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    sound = sounds(16_000, 60.0, coughs=np.arange(1.0, 59.0, 1.0))
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        found: set[str] = set()
        for arrivals in (5, 20, 40):
            seen = len(subscriber.event_ids())
            with Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
                daemon.wait_for("ready")
                daemon.hear(sound)
                eventually(partial(has_more_than, subscriber, seen + arrivals), "some events")
                daemon.stop(signal.SIGKILL)
                # The newest event of a run leaves no hole in its count: it must be known from elsewhere.
                found |= {entry["event_id"] for entry in daemon.logged("event")} | waiting(daemon.outbox)
        with Daemon(tiny_bundle_path, tmp_path, broker.port, *silence(tmp_path)) as daemon:
            assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: found <= set(subscriber.event_ids()), "every event that was told of or stored")
        assert len({event["boot_id"] for event in subscriber.payloads("/event")}) == 3
        numbers: dict[str, set[int]] = {}
        for event in subscriber.payloads("/event"):
            numbers.setdefault(event["boot_id"], set()).add(event["seq"])
    # Each run counts its events from 0: a hole would be an event that was found and lost.
    for boot_id, seen_numbers in numbers.items():
        assert seen_numbers == set(range(len(seen_numbers))), boot_id
    assert waiting(tmp_path / "outbox.db") == set()


def test_daemon_killed_without_a_broker_has_kept_every_event_it_told_of(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.hear(sounds(16_000, 60.0, coughs=np.arange(1.0, 59.0, 1.0)))
        eventually(lambda: len(daemon.logged("event")) >= 10, "ten events")
        daemon.stop(signal.SIGKILL)
        told = {entry["event_id"] for entry in daemon.logged("event")}
    kept = waiting(tmp_path / "outbox.db")
    assert told <= kept
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        with Daemon(tiny_bundle_path, tmp_path, broker.port, *silence(tmp_path)) as daemon:
            assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: set(subscriber.event_ids()) == kept, "every event of the killed daemon")


def test_daemon_whose_outbox_is_damaged_at_the_start_says_so_and_goes_on(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    outbox = Outbox(tmp_path / "outbox.db", max_mb=10, max_age_days=1)
    outbox.put("old", f"{BASE}/event", b"{}")
    outbox.close()
    (tmp_path / "outbox.db").write_bytes(b"no database any more" * 500)
    with (
        mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker.port) as subscriber,
        Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon,
    ):
        daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
        eventually(lambda: len(subscriber.event_ids()) >= 1, "an event")
        assert subscriber.payloads("/status")[0]["state"] == "degraded"
        assert "outbox: was damaged" in subscriber.payloads("/status")[0]["reason"]
        assert daemon.stop() == 0, daemon.errors()
        assert len(daemon.logged("outbox_salvaged")) == 1
