"""A mosquitto that can be killed, and a subscriber that loses nothing by it, for measurements of the delivery.

Does: starts, kills and starts again; hands on what arrives. Does not: count, or know of events.

A broker that is killed loses what it has acknowledged and still holds in memory. So it is configured to hand a message
on before it acknowledges it, and the subscriber's session outlives it: what is lost was lost by the device.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edge.errors import UserError

PATIENCE_S = 600.0
_MARK = "bench/mark"


def wait(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
    """Wait until it holds, at most so long."""
    deadline = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)


def find_mosquitto() -> str | None:
    """The program, which a user's path often lacks."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    """A TCP port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def accepts(port: int) -> bool:
    """Whether somebody on this machine listens on a TCP port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def configure(folder: Path, port: int, access: str = "allow_anonymous true") -> Path:
    """Write the configuration of a broker whose sessions are kept in `folder`, and return its file.

    These limits and a subscriber with QoS 0, which the broker need not wait for, leave nothing in its memory: what it
    acknowledged, it has handed to the kernel.

    Args:
        folder: must be there; `mosquitto.conf` and `mosquitto.db` are in it.
        port: of the loopback.
        access: who may do what, as lines of the configuration.
    """
    file = folder / "mosquitto.conf"
    file.write_text(
        f"listener {port} 127.0.0.1\n{access}\npersistence true\npersistence_location {folder}/\n"
        "max_inflight_messages 0\nmax_queued_messages 0\nqueue_qos0_messages true\n"
        + ("" if os.geteuid() else "user root\n")
    )
    return file


class Broker:
    """A mosquitto on the loopback."""

    def __init__(self, folder: Path) -> None:
        program = find_mosquitto()
        if program is None:
            raise UserError("this needs mosquitto: on Debian apt install mosquitto")
        self.port = free_port()
        self.sessions = folder / "mosquitto.db"
        self._command = [program, "-c", str(configure(folder, self.port))]

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        self._process = subprocess.Popen(self._command, stderr=subprocess.DEVNULL)
        wait(lambda: accepts(self.port))

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def keep_sessions(self) -> None:
        """Have it write down who has subscribed."""
        self._process.send_signal(signal.SIGUSR1)
        wait(self.sessions.exists)


class Subscriber:
    """Hands on each message that arrives: its topic and payload, in a thread of its own."""

    def __init__(self, broker: Broker, topics: Sequence[str], hear: Callable[[str, bytes], None]) -> None:
        self._topics, self._hear = topics, hear
        self._marks = 0
        self._marked = 0
        subscribed = threading.Event()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, "subscriber", clean_session=False, protocol=MQTTProtocolVersion.MQTTv311
        )
        client.reconnect_delay_set(1, 1)
        # With QoS 0 the broker has handed a message to the kernel before it acknowledges it to the device.
        client.on_connect = self._subscribe
        client.on_subscribe = lambda *_: subscribed.set()
        client.on_message = self._take
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        self._client = client
        if not subscribed.wait(PATIENCE_S):
            raise UserError("the broker does not answer a subscriber")
        broker.keep_sessions()

    def catch_up(self) -> None:
        """Wait until it is connected and has what the broker held for it meanwhile, which dies with the broker."""
        self._marks += 1
        self._client.publish(_MARK, str(self._marks), qos=1)
        wait(lambda: self._marked >= self._marks)

    def _subscribe(self, client: paho.Client, *_: Any) -> None:
        client.subscribe([(topic, 0) for topic in (*self._topics, _MARK)])

    def _take(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        if message.topic == _MARK:
            self._marked = int(message.payload)
        else:
            self._hear(message.topic, bytes(message.payload))
