"""Killed between any two steps of an event's life, a device loses nothing and repeats one event at most.

The process that dies puts the kill into its own copy of the code: nothing in the program knows of it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import Broker, Subscriber, eventually, mosquitto
from tests.programs import ROOT

pytestmark = pytest.mark.broker

EVENTS = 6

DEVICE = """
import json, os, signal, sys, time
from functools import wraps
from pathlib import Path
from edge.connection import Connection
from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.sections import MqttSettings

path, port, base, first, step = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5]
passed = 0

def reached(name):
    global passed
    passed += name == step
    if passed == 3: os.kill(os.getpid(), signal.SIGKILL)

def mark(owner, method, before="", after=""):
    act = getattr(owner, method)
    @wraps(act)
    def marked(*arguments, **options):
        reached(before)
        result = act(*arguments, **options)
        reached(after)
        return result
    setattr(owner, method, marked)

mark(Outbox, "put", "put", "stored")
mark(Connection, "_on_publish", "acknowledged")
mark(Outbox, "delete", "delete", "deleted")

written = ""
def statement(sql):
    global written
    verb = sql.split()[0]
    if verb in ("INSERT", "DELETE"): written = verb
    reached(f"{verb} of {written}" if verb == "COMMIT" else verb)

outbox = Outbox(path, max_mb=10, max_age_days=1)
outbox._file._database.set_trace_callback(statement)
publisher = Publisher(MqttSettings(port=port), base, outbox, lambda: {"state": "online", "reason": ""})

send = Connection.send
def send_event(connection, topic, payload, **options):
    if topic.endswith("/event"): reached("publish")
    number = send(connection, topic, payload, **options)
    if topic.endswith("/event"): reached("published")
    return number
Connection.send = send_event

for number in range(first, int(sys.argv[6])):
    if number == 2: publisher.start()  # two events have waited, the others are live
    outbox.put(f"event-{number}", f"{base}/event", json.dumps({"event_id": f"event-{number}"}).encode())
    print(number, file=sys.stderr, flush=True)  # standard output has the log
    publisher.notify()
if not publisher._thread.is_alive(): publisher.start()
deadline = time.monotonic() + 60
while outbox.depth and time.monotonic() < deadline: time.sleep(0.01)
publisher.stop(10)
outbox.close()
"""

STEPS = (
    "put",
    "INSERT",
    "COMMIT of INSERT",
    "stored",
    "publish",
    "published",
    "acknowledged",
    "delete",
    "DELETE",
    "COMMIT of DELETE",
    "deleted",
)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with mosquitto(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_any_step_loses_nothing_and_repeats_one_event_at_most(
    tmp_path: Path, broker: Broker, step: str
) -> None:
    base = f"acula/site/killed-at-{step.replace(' ', '-')}"

    def live(first: int, die_at: str) -> subprocess.CompletedProcess[str]:
        arguments = [str(tmp_path / "outbox.db"), str(broker.port), base, str(first), die_at, str(EVENTS)]
        return subprocess.run(
            [sys.executable, "-c", DEVICE, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )

    with Subscriber(broker.port) as subscriber:
        killed = live(0, step)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        stored = len(killed.stderr.split())
        # What was told to be stored must arrive; what the killed one had not come to, the next one finds.
        revived = live(stored, "never")
        assert revived.returncode == 0, revived.stderr
        expected = {f"event-{number}" for number in range(EVENTS)}

        def arrived() -> list[str]:
            mine = [message for message in list(subscriber.messages) if message.topic == f"{base}/event"]
            return [json.loads(message.payload)["event_id"] for message in mine]

        eventually(lambda: expected <= set(arrived()), "every event")
        assert len(arrived()) <= EVENTS + 1
