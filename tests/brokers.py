"""Real brokers and a real subscriber for tests: mosquitto and amqtt as processes on free loopback ports."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bench.mosquitto import accepts, configure, find_mosquitto, free_port
from tests.needs import lacking

PATIENCE_S = 60.0
"""How long a test waits for something that must happen; it goes on as soon as it has."""

_AMQTT = """
import asyncio, sys
from amqtt.broker import Broker
async def main():
    await Broker({
        "listeners": {"default": {"type": "tcp", "bind": "127.0.0.1:" + sys.argv[1]}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


def eventually(condition: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
    """Wait until the condition holds; fail, naming what was waited for, when it does not."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:.0f} s in vain: {what}")
        time.sleep(0.02)


class Broker:
    """A broker process; a context manager that starts it and leaves none behind."""

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self.log = log
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            eventually(lambda: accepts(self.port), f"broker on port {self.port}; its log is {self.log}")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def keep_sessions(self) -> None:
        """Have a mosquitto write down who has subscribed, so that a kill does not make it forget them."""
        self.send_signal(signal.SIGUSR1)
        eventually((self.log.parent / "mosquitto.db").exists, "the broker's session file")

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)
            self.kill()


def mosquitto(folder: Path, *, settings: str = "allow_anonymous true", port: int = 0) -> Broker:
    """A mosquitto that keeps its sessions in `folder`. Skips where mosquitto is missing, and fails there in CI."""
    program = find_mosquitto()
    if program is None:
        lacking("mosquitto is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    configuration = configure(folder, port, settings)
    return Broker([program, "-v", "-c", str(configuration)], port, folder / "mosquitto.log")


def amqtt(folder: Path) -> Broker:
    """An embedded Python broker that speaks MQTT 3.1.1 only and leaves a CONNECT of version 5 unanswered."""
    port = free_port()
    return Broker([sys.executable, "-c", _AMQTT, str(port)], port, folder / "amqtt.log")


class Subscriber:
    """Subscribes to everything of one broker, in a session that the broker keeps, and collects what comes."""

    def __init__(self, port: int, *, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5, qos: int = 1) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self._subscribed = threading.Event()
        is_5 = version == MQTTProtocolVersion.MQTTv5
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, "subscriber", clean_session=None if is_5 else False, protocol=version
        )
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda *_: self._client.subscribe("#", qos=qos)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self.messages.append(message)
        if is_5:
            keep = Properties(PacketTypes.CONNECT)
            keep.SessionExpiryInterval = 3600
            self._client.connect("127.0.0.1", port, clean_start=False, properties=keep)
        else:
            self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(PATIENCE_S)

    def payloads(self, topic_end: str) -> list[dict[str, Any]]:
        """The JSON objects that came on topics with this end, in order."""
        return [json.loads(message.payload) for message in list(self.messages) if message.topic.endswith(topic_end)]

    def states(self) -> list[str]:
        """The states of the device, in order."""
        return [payload["state"] for payload in self.payloads("/status")]

    def event_ids(self) -> list[str]:
        """The identities of the events, in order, repeats included."""
        return [payload["event_id"] for payload in self.payloads("/event")]

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def retained(port: int, topic: str) -> dict[str, Any] | None:
    """The retained message of a topic, as a newcomer gets it; None when there is none."""
    found: list[bytes] = []
    answers: list[int] = []

    def ask_again(client: paho.Client, *_: Any) -> None:
        answers.append(1)
        client.subscribe("nothing")  # what the broker keeps comes before its answer to this

    client = paho.Client(CallbackAPIVersion.VERSION2, "newcomer")
    client.on_connect = lambda *_: client.subscribe(topic, qos=1)
    client.on_subscribe = ask_again
    client.on_message = lambda _client, _data, message: found.append(message.payload)
    client.connect("127.0.0.1", port)
    deadline = time.monotonic() + PATIENCE_S
    while not found and len(answers) < 2 and time.monotonic() < deadline:
        if client.loop(0.1) != paho.MQTT_ERR_SUCCESS:
            break
    client.disconnect()
    return json.loads(found[0]) if found else None
