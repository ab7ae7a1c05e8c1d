"""Commands to the real daemon through a real broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paho.mqtt.publish as publish
import pytest
from numpy.typing import NDArray

from tests.brokers import Broker, Subscriber, eventually, mosquitto, retained
from tests.programs import BASE, Daemon

pytestmark = pytest.mark.broker

Sounds = Callable[..., NDArray[np.float32]]
COMMAND = f"{BASE}/command"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


def send(broker: Broker, command: dict[str, Any], *, retain: bool = False) -> None:
    publish.single(COMMAND, json.dumps(command), qos=1, retain=retain, hostname="127.0.0.1", port=broker.port)


def results(subscriber: Subscriber) -> list[tuple[str, str]]:
    return [(answer["id"], answer["result"]) for answer in subscriber.payloads("/command/result")]


def test_thresholds_by_command_change_what_is_heard_and_survive_the_restart_by_command(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    cough = sounds(16_000, 6.0, coughs=[1.0])
    flags = ("--commands.enabled", "--thresholds", "cough=1.0")
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *flags) as daemon:
        eventually(lambda: "online" in subscriber.states(), "status online")  # behind the subscription
        assert daemon.wait_for("thresholds_differ")["from_bundle"] == {"cough": {"on": 1.0, "bundle": 0.6}}
        daemon.hear(cough)
        send(broker, {"id": "t", "command": "thresholds", "thresholds": {"cough": 0.5}, "keep": True})
        eventually(lambda: results(subscriber) == [("t", "done")], "the answer")
        now = {"cough": {"on": 0.5, "bundle": 0.6}}
        eventually(lambda: subscriber.payloads("/status")[-1]["thresholds"] == now, "the thresholds in the status")
        daemon.hear(cough)
        daemon.hear(cough)
        eventually(lambda: len(subscriber.event_ids()) >= 1, "a cough over the new threshold")
        send(broker, {"id": "r", "command": "restart"})
        eventually(lambda: ("r", "accepted") in results(subscriber), "the answer to restart")
        eventually(lambda: len(daemon.logged("ready")) == 2, "the second start")
        eventually(
            lambda: (
                (last := retained(broker.port, f"{BASE}/status")) is not None
                and last["state"] == "online"
                and last["thresholds"] == now
            ),
            "the status of the second run",
        )
        assert daemon.logged("thresholds_differ")[-1]["from_bundle"] == now


def test_retained_command_is_refused_and_a_device_without_leave_hears_none(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker
) -> None:
    send(broker, {"id": "old", "command": "restart"}, retain=True)
    with Subscriber(broker.port) as subscriber:
        with Daemon(tiny_bundle_path, tmp_path, broker.port, "--commands.enabled") as daemon:
            eventually(lambda: results(subscriber) == [("old", "refused")], "the refusal")
            send(broker, {"id": "new", "command": "restart"}, retain=True)  # while the subscription stands
            eventually(lambda: results(subscriber)[1:] == [("new", "refused")], "the second refusal")
            assert daemon.stop() == 0, daemon.errors()
            assert len(daemon.logged("ready")) == 1
        with Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
            daemon.wait_for("broker_connected")
            send(broker, {"id": "t", "command": "thresholds", "thresholds": {"cough": 0.5}})
            eventually(lambda: any(b'"t"' in message.payload for message in list(subscriber.messages)), "its passing")
            assert daemon.stop() == 0, daemon.errors()
        assert len(results(subscriber)) == 2
