"""One connection to the broker, from CONNECT to its end.

Does: opens it in one version of the protocol, sends, collects acknowledgements, notices its end, closes it, and says in
plain words what went wrong. Does not: retry, choose the version, or know of events (`edge.mqtt` does). One thread owns
it. A connection has a paho client of its own, so nothing queues up inside paho across an outage.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Literal, ParamSpec

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edge.dialogue import Heard

log = structlog.get_logger()

Protocol = Literal["5", "3.1.1"]
Trouble = Literal["network", "unanswered", "protocol", "credentials", "refused", "lost"]

_CONNECT_TIMEOUT_S = 5.0
"""For TCP and, again, for the TLS handshake."""
_KEEPALIVE_S = 30
_STEP_S = 1.0
_CLOSE_TIMEOUT_S = 1.0
_LONGEST_PACKET_BYTES = 65_536
_UNSUPPORTED_PROTOCOL = 0x84
_BAD_CREDENTIALS = (0x86, 0x87, 0x8C)
"""Bad user name or password, not authorised, bad authentication method."""
_FAILURE = 0x80
"""Reason codes from here on are refusals."""

P = ParamSpec("P")


class BrokerError(Exception):
    """A connection that could not be made or did not last."""

    def __init__(self, trouble: Trouble, reason: str) -> None:
        """Say what kind of trouble it is, and why in the words of the system or the broker."""
        super().__init__(reason)
        self.trouble = trouble


@dataclass(frozen=True)
class Address:
    """Where the broker is and how this device presents itself."""

    host: str
    port: int
    client_id: str
    username: str
    password: str = field(repr=False)
    tls: ssl.SSLContext | None
    will_topic: str


@dataclass(frozen=True)
class Acknowledgement:
    """The broker's answer to one message."""

    message: int
    refusal: str
    """Empty where the broker took the message."""


def _guarded(callback: Callable[P, None]) -> Callable[P, None]:
    """An exception in a callback would leave paho half-way through a packet: log it instead."""

    @wraps(callback)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:
            log.exception("mqtt_callback_failed", callback=callback.__name__)

    return call


class Connection:
    """Owns one socket to the broker. `open` first; whoever opened it calls `close` or `drop`."""

    def __init__(self, address: Address, protocol: Protocol, will: bytes, wake: socket.socket) -> None:
        """Prepare a connection.

        Args:
            address: the broker and this device.
            protocol: version of MQTT to speak.
            will: what the broker publishes, retained, on the will topic when the connection breaks.
            wake: non-blocking; a byte in it makes `step` return early.
        """
        self.protocol = protocol
        self.receive_maximum = 65_535
        """Most messages that the broker lets wait for an acknowledgement at a time."""
        self._address = address
        self._wake = wake
        self._answer: ReasonCode | None = None
        self._end = ""
        self._acknowledged: list[Acknowledgement] = []
        self._heard: list[Heard] = []
        self._client = self._make_client(will)

    def open(self, answer_timeout_s: float, give_up: Callable[[], bool]) -> None:
        """Connect and wait for the broker's answer, until `give_up` says so or the time is over.

        Raises:
            BrokerError: no connection; `trouble` tells a network failure from an unanswered CONNECT and a refusal.
        """
        host, port = self._address.host, self._address.port
        try:
            # A clean start, which is paho's default: this client knows nothing of a session that the broker had kept.
            self._client.connect(host, port, _KEEPALIVE_S, properties=self._limits())
        except (OSError, ValueError) as error:
            raise BrokerError("network", _words(error)) from error
        deadline = time.monotonic() + answer_timeout_s
        while self._answer is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or give_up():
                raise BrokerError("unanswered", "no answer to CONNECT")
            try:
                self.step(min(left_s, _STEP_S))
            except BrokerError as error:
                if self._answer is None:
                    raise BrokerError("unanswered", f"closed before an answer to CONNECT: {error}") from error
        self._judge(self._answer)

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send a message with QoS 1; returns the number under which it will be acknowledged."""
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def send_live(self, topic: str, payload: bytes) -> None:
        """Send a message with QoS 0, which nobody acknowledges."""
        self._client.publish(topic, payload, qos=0)

    def subscribe(self, topic: str) -> None:
        """Ask for the messages of a topic, with QoS 1; `take_heard` gives them."""
        # Only version 5 tells a message that is retained from others once the subscription stands.
        if self.protocol == "5":
            self._client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            self._client.subscribe(topic, qos=1)

    def take_heard(self) -> list[Heard]:
        """The messages that came since the last call."""
        taken, self._heard = self._heard, []
        return taken

    def take_acknowledgements(self) -> list[Acknowledgement]:
        """The acknowledgements that came since the last call."""
        taken, self._acknowledged = self._acknowledged, []
        return taken

    def step(self, timeout_s: float) -> None:
        """Wait for the network or the wake socket, at most `timeout_s`, and do what is due.

        Raises:
            BrokerError: the connection has ended.
        """
        sock = self._client.socket()
        if sock is not None:
            # Bytes that TLS has already decrypted do not show in select.
            decrypted = sock.pending() > 0 if isinstance(sock, ssl.SSLSocket) else False
            writing = [sock] if self._client.want_write() else []
            readable, writable, _ = select.select([sock, self._wake], writing, [], 0.0 if decrypted else timeout_s)
            if self._wake in readable:
                self._wake.recv(4096)
            try:
                if decrypted or sock in readable:
                    self._client.loop_read()
                if sock in writable:
                    self._client.loop_write()
                self._client.loop_misc()
            except Exception as error:  # paho raises whatever its parser trips over in a malformed packet
                raise BrokerError("lost", f"malformed packet: {_words(error)}") from error
        if self._end or self._client.socket() is None:
            raise BrokerError("lost", self._end or "connection closed")

    def close(self) -> None:
        """Take leave, where the connection still stands, and release the socket."""
        deadline = time.monotonic() + _CLOSE_TIMEOUT_S
        try:
            self._client.disconnect()
            while self._client.socket() is not None and time.monotonic() < deadline:
                self.step(_CLOSE_TIMEOUT_S)
        except (BrokerError, OSError, ValueError):
            pass  # it is closed, which is all that is wanted
        finally:
            self.drop()

    def drop(self) -> None:
        """Release the socket without a word, upon which the broker publishes the will."""
        if (sock := self._client.socket()) is not None:
            sock.close()

    def _make_client(self, will: bytes) -> Client:
        version = MQTTProtocolVersion.MQTTv5 if self.protocol == "5" else MQTTProtocolVersion.MQTTv311
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._address.client_id,
            protocol=version,
            # Otherwise paho by itself falls back to MQTT 3.1 within the answer to CONNECT.
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.on_connect = _guarded(self._on_connect)
        client.on_disconnect = _guarded(self._on_disconnect)
        client.on_publish = _guarded(self._on_publish)
        client.on_message = _guarded(self._on_message)
        client.on_subscribe = _guarded(self._on_subscribe)
        client.will_set(self._address.will_topic, will, qos=1, retain=True)
        if self._address.username:
            client.username_pw_set(self._address.username, self._address.password or None)
        if self._address.tls is not None:
            client.tls_set_context(self._address.tls)
        return client

    def _limits(self) -> Properties | None:
        """Keeps anybody's huge message from filling this device's memory; version 3.1.1 has no such limit."""
        if self.protocol != "5":
            return None
        limits = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        limits.MaximumPacketSize = _LONGEST_PACKET_BYTES
        return limits

    def _judge(self, answer: ReasonCode) -> None:
        if answer.value == 0:
            return
        if answer.value == _UNSUPPORTED_PROTOCOL:
            raise BrokerError("protocol", f"the broker does not speak MQTT {self.protocol}")
        if answer.value in _BAD_CREDENTIALS:
            raise BrokerError("credentials", str(answer).lower())
        raise BrokerError("refused", str(answer).lower())

    def _on_connect(
        self, _client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._answer = reason
        self.receive_maximum = getattr(properties, "ReceiveMaximum", self.receive_maximum)

    def _on_disconnect(
        self, _client: Client, _data: object, flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        by_broker = flags.is_disconnect_packet_from_server
        silent = str(reason) == "Keep alive timeout"
        self._end = (
            f"ended by the broker: {reason}"
            if by_broker
            else "no sign of the broker"
            if silent
            else "the connection broke"
        )

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._heard.append(Heard(message.topic, bytes(message.payload), message.retain))

    def _on_subscribe(
        self, _client: Client, _data: object, _message: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        for reason in reasons:
            if reason.value >= _FAILURE:
                log.warning("broker_refused_subscription", reason=str(reason), action="check the broker's permissions")

    def _on_publish(
        self, _client: Client, _data: object, message: int, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        self._acknowledged.append(Acknowledgement(message, str(reason) if reason.value >= _FAILURE else ""))


def _words(error: Exception) -> str:
    """An error in a few words without its number."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
