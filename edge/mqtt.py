"""Keeps the device connected to its broker, for as long as the daemon runs.

Does: connects, has the outbox delivered while the connection stands, and connects again after an outage of any length,
the first one included, with growing and jittered pauses. An outage costs nothing but time and is told once. On `stop`
it delivers what it can, says `offline`, and leaves. Does not: create messages or hold any; the outbox is the only
queue.

MQTT 5 comes first. Where a broker refuses it, or leaves CONNECT unanswered (as embedded brokers do that cannot parse
version 5), the next attempt asks in 3.1.1, and the one after that in 5 again. Version 3.1.1 is thus spoken only to a
broker that has answered in it just after not answering in 5, never because the network failed; and every outage begins
with version 5 anew.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import structlog

from edge.connection import Address, BrokerError, Connection, Protocol
from edge.credentials import Credentials
from edge.delivery import Delivery
from edge.dialogue import Dialogue
from edge.errors import ConfigError
from edge.guard import Guard
from edge.live import LiveMessages
from edge.outbox import Outbox
from edge.payloads import to_bytes
from edge.refusals import Refusals
from edge.sections import MqttSettings

log = structlog.get_logger()

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_STABLE_S = 30.0
"""A connection that lasted so long makes the pauses short again; one that ends sooner (two devices that share a name
push each other out) does not."""
_FIRST_ANSWER_TIMEOUT_S, _ANSWER_DOUBLINGS = 3.0, 3
"""CONNECT waits 3 s for its answer; each time in vain doubles that, to 24 s at most, for a broker that is slow."""
_MAINTENANCE_S = 5.0
_PAUSE_WHILE_STOPPING_S = 0.5
_LASTING = ("boot_id", "version", "bundle")
"""What the status says that stays so for as long as a connection lasts."""
_FAREWELL_S = 3.0

_TOLD_AS = {
    "credentials": ("broker_refused_credentials", "check mqtt.username and mqtt.password_file; trying again"),
    "protocol": ("broker_refused_protocol", "the broker speaks neither MQTT 5 nor 3.1.1; trying again"),
    "refused": ("broker_refused_connection", "see the broker's log; trying again"),
}
_UNREACHABLE = ("broker_unreachable", "detection goes on, events wait in the outbox; trying again")


class Publisher:
    """Owns the connection to the broker and the thread that drives it."""

    def __init__(
        self, settings: MqttSettings, base_topic: str, outbox: Outbox, status: Callable[[], dict[str, Any]]
    ) -> None:
        """Check the settings; nothing is connected before `start`.

        Args:
            settings: the broker.
            base_topic: acula/<site>/<device>.
            outbox: what to deliver.
            status: gives the status payload of the moment; called from this publisher's thread.

        Raises:
            ConfigError: as `edge.credentials.Credentials` says.
        """
        self.is_connected = False
        self.errors = 0
        """Attempts to connect that failed, connections that broke, and messages that the broker refused."""
        self.refusals = Refusals()
        """Topics on which the broker takes nothing."""
        self._guard = Guard("dialogue_failed")
        self._live = LiveMessages()
        self._dialogues: list[Dialogue] = []
        self._settings = settings
        self._status_topic = f"{base_topic}/status"
        # A colon is in no name, so no two devices of different topics get the same.
        self._client_id = base_topic.replace("/", ":")
        self._outbox = outbox
        self._status = status
        self._credentials = Credentials(settings)
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._stopping = threading.Event()
        self._deadline = 0.0
        self._farewell = ""
        self._protocol: Protocol = "5"
        self._at_once = False
        self._pause_s = 0.0
        self._unanswered = 0
        self._told: set[str] = set()
        self._out_since = time.monotonic()

    @property
    def trouble(self) -> str:
        """Which dialogues fail; empty while none does."""
        return self._guard.trouble

    def add(self, dialogue: Dialogue) -> None:
        """Let another part speak and hear on the connection; before `start`."""
        self._dialogues.append(dialogue)

    def start(self) -> None:
        """Begin to connect and deliver, in a thread of its own."""
        self._thread.start()

    def notify(self) -> None:
        """Say that a message has been put into the outbox; from any thread."""
        with contextlib.suppress(BlockingIOError):  # full: then it wakes anyway
            self._wake_writer.send(b"\0")

    def send_live(self, topic: str, payload: bytes, source: str) -> None:
        """Send what is true only now, with QoS 0 and only if a connection stands; from any thread.

        One that has not been sent yet gives way to a newer one of the same topic and source.
        """
        self._live.put((topic, source), topic, payload)
        self.notify()

    def stop(self, drain_s: float, reason: str = "stopped") -> None:
        """Deliver what waits for at most `drain_s` seconds, leave `offline` with `reason` as status, and disconnect."""
        self._deadline = time.monotonic() + drain_s
        self._farewell = reason
        self._stopping.set()
        self.notify()
        self._thread.join(drain_s + 2 * _FAREWELL_S)

    def _run(self) -> None:
        while True:
            try:
                self._attempt()
            except BrokerError as error:
                self._count_error()
                self._learn(error)
            except Exception as error:
                self._count_error()
                # Whatever it was, events must still be delivered once it is over.
                self._tell("failed", "mqtt_failed", repr(error), "report this; trying again", exc_info=True)
            else:
                return  # it has taken leave
            if self._is_done():
                return
            self._rest()

    def _attempt(self) -> None:
        """Connect, and serve the connection until it ends or the publisher is done."""
        connection = Connection(self._address(), self._protocol, self._will(), self._wake_reader)
        try:
            connection.open(_FIRST_ANSWER_TIMEOUT_S * 2**self._unanswered, self._is_done)
            self._unanswered = 0
            log.info(
                "broker_connected",
                broker=self._broker,
                mqtt=connection.protocol,
                after_s=round(time.monotonic() - self._out_since, 1),
                waiting=self._outbox.depth,
            )
            self._told.clear()
            self._serve(connection)
        except BaseException:
            # No farewell was left as status, so the broker must publish the will.
            connection.drop()
            raise
        connection.close()

    def _serve(self, connection: Connection) -> None:
        begun = time.monotonic()
        delivery = Delivery(
            connection,
            self._outbox,
            self._status_topic,
            self._status,
            self.refusals,
            self._guard,
            self._dialogues,
            self._count_error,
        )
        self.is_connected = True
        self._live.take()  # from before the connection
        try:
            while not (self._stopping.is_set() and (delivery.is_idle or time.monotonic() > self._deadline)):
                for topic, payload in self._live.take():
                    connection.send_live(topic, payload)
                delivery.turn()
            delivery.take_leave(self._farewell, _FAREWELL_S)
        finally:
            self.is_connected = False
            self._out_since = time.monotonic()
            if self._out_since - begun >= _STABLE_S:
                self._pause_s = 0.0

    def _count_error(self) -> None:
        self.errors += 1

    def _learn(self, error: BrokerError) -> None:
        """Choose the version for the next attempt, and tell what has not been told in this outage."""
        if self._is_done():
            return
        if error.trouble == "unanswered":
            self._unanswered = min(self._unanswered + 1, _ANSWER_DOUBLINGS)
        if error.trouble in ("unanswered", "protocol") and self._protocol == "5":
            self._protocol = "3.1.1"
            self._at_once = True
            return
        if error.trouble not in ("credentials", "refused"):
            self._protocol = "5"
        event, action = _TOLD_AS.get(error.trouble, _UNREACHABLE)
        self._tell(event, event, str(error), action)

    def _tell(self, key: str, event: str, reason: str, action: str, **more: Any) -> None:
        if key not in self._told:
            self._told.add(key)
            log.warning(event, broker=self._broker, reason=reason, waiting=self._outbox.depth, action=action, **more)

    def _rest(self) -> None:
        """Wait before the next attempt: not at all when it asks in the other version, else longer each time."""
        if self._at_once:
            self._at_once = False
            return
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        # Jitter keeps a ward's devices from returning to a restarted broker all at once.
        end = time.monotonic() + self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        while (left_s := end - time.monotonic()) > 0:
            if self._stopping.is_set():
                time.sleep(min(left_s, _PAUSE_WHILE_STOPPING_S))
                return
            self._stopping.wait(min(left_s, _MAINTENANCE_S))
            self._outbox.maintain()

    def _is_done(self) -> bool:
        return self._stopping.is_set() and (time.monotonic() > self._deadline or self._outbox.depth == 0)

    @property
    def _broker(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _address(self) -> Address:
        try:
            password = self._credentials.password()
        except ConfigError as error:
            raise BrokerError("credentials", str(error)) from error
        return Address(
            host=self._settings.host,
            port=self._settings.port,
            client_id=self._client_id,
            username=self._settings.username,
            password=password,
            tls=self._credentials.tls,
            will_topic=self._status_topic,
        )

    def _will(self) -> bytes:
        """What the broker says of this device once it is gone: of all that changes nobody can know how it is then."""
        status = {name: value if name in _LASTING else None for name, value in self._status().items()}
        return to_bytes({**status, "state": "offline", "reason": "connection lost"})
