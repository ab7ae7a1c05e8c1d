"""One connection: what it learns from a real broker, and how it tells the end of one."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.publish import single as send_once

from edge import connection as connection_module
from edge.connection import Address, BrokerError, Connection
from tests.brokers import PATIENCE_S, Broker, eventually, mosquitto

STATUS, COMMAND = "acula/ward-3/bed-12/status", "acula/ward-3/bed-12/command"


def prepared(port: int) -> Connection:
    address = Address("127.0.0.1", port, "bed-12", "", "", None, STATUS)
    wake, _ = socket.socketpair()
    return Connection(address, "5", b"{}", wake)


@pytest.fixture
def connection(broker: Broker) -> Iterator[Connection]:
    connection = prepared(broker.port)
    connection.open(PATIENCE_S, lambda: False)
    yield connection
    connection.close()


def waited(connection: Connection, *, for_heard: bytes) -> list[bytes]:
    """What was heard until this came."""
    heard: list[bytes] = []

    def has_come() -> bool:
        connection.step(0.1)
        heard.extend(message.payload for message in connection.take_heard())
        return for_heard in heard

    eventually(has_come, "the message")
    return heard


@pytest.mark.broker
def test_broker_says_how_many_messages_it_takes_at_a_time(tmp_path: Path) -> None:
    with mosquitto(tmp_path / "broker") as broker:
        broker.kill()
        settings = tmp_path / "broker" / "mosquitto.conf"
        settings.write_text(settings.read_text().replace("max_inflight_messages 0", "max_inflight_messages 7"))
        broker.start()
        connection = prepared(broker.port)
        connection.open(PATIENCE_S, lambda: False)
        assert connection.receive_maximum == 7
        connection.close()


@pytest.mark.broker
def test_message_that_would_fill_the_memory_does_not_come(broker: Broker, connection: Connection) -> None:
    connection.subscribe(COMMAND)
    for payload in (b"first", b"x" * 100_000, b"last"):
        send_once(COMMAND, payload, qos=1, retain=True, hostname="127.0.0.1", port=broker.port)
    assert waited(connection, for_heard=b"last") == [b"first", b"last"]


@pytest.mark.broker
def test_quiet_connection_is_kept_alive_and_a_broker_that_is_gone_is_noticed(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_KEEPALIVE_S", 1)
    connection = prepared(broker.port)
    connection.open(PATIENCE_S, lambda: False)

    def is_kept() -> bool:
        connection.step(0.1)
        return "Received PINGREQ from bed-12" in broker.log.read_text()

    eventually(is_kept, "a sign of life")
    broker.send_signal(signal.SIGSTOP)

    def is_noticed() -> bool:
        try:
            connection.step(0.1)
        except BrokerError as error:
            return str(error) == "no sign of the broker"
        return False

    eventually(is_noticed, "the end")
    connection.drop()


@contextlib.contextmanager
def sending(packet: bytes) -> Iterator[Connection]:
    """A connection to somebody who accepts it and sends this next, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        connection = prepared(server.getsockname()[1])
        peers: list[socket.socket] = []

        def answer() -> None:
            peers.append(server.accept()[0])
            peers[0].sendall(b"\x20\x03\x00\x00\x00" + packet)

        answering = threading.Thread(target=answer)
        answering.start()
        connection.open(PATIENCE_S, lambda: False)
        answering.join()
        yield connection
        connection.drop()
        peers[0].close()


@pytest.mark.parametrize(
    "packet",
    [b"\x30\x01\x00", b"\x30\x02\xff\xff", b"\x40\x00", b"\x30\x04\x00\x01t\x7f", b"\x30\x06\x00\x01t\x02\xff\x00"],
)
def test_packet_that_is_none_is_the_end_of_the_connection(packet: bytes) -> None:
    with sending(packet) as connection, pytest.raises(BrokerError) as end:
        while True:
            connection.step(0.1)
    assert end.value.trouble == "lost"


@pytest.mark.parametrize(("reason", "told"), [(b"\x01", []), (b"\x87", ["broker_refused_subscription"])])
def test_subscription_that_the_broker_refuses_is_told(reason: bytes, told: list[str], logs: list[Any]) -> None:
    after = b"\x30\x05\x00\x01t\x00!"  # a message, so that the answer has been read when it comes
    with sending(b"\x90\x04\x00\x01\x00" + reason + after) as connection:
        connection.subscribe(COMMAND)
        assert waited(connection, for_heard=b"!") == [b"!"]
    assert [entry["event"] for entry in logs] == told
