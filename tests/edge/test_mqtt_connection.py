"""Who answers and how: versions of MQTT, credentials, TLS, what is no broker. mosquitto speaks 5, amqtt 3.1.1 only."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.publish import single as send_once
from structlog.testing import capture_logs

from bench.mosquitto import free_port
from edge import mqtt
from edge.dialogue import Heard, Said
from edge.errors import ConfigError
from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.sections import MqttSettings
from tests.brokers import Subscriber, amqtt, eventually, mosquitto
from tests.certificates import make_certificates
from tests.outboxes import disk_without_room, open_outbox
from tests.publishing import BASE, publish, put, status


@pytest.mark.broker
def test_refused_credentials_are_told_in_one_line_and_right_ones_deliver(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    accounts = tmp_path / "accounts"
    password = tmp_path / "password"
    password.write_text("wrong-secret\n")
    password.chmod(0o600)
    broker = mosquitto(tmp_path / "broker", settings=f"allow_anonymous false\npassword_file {accounts}")
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(accounts), "bed-12", "right"], check=True)
    accounts.chmod(0o644)
    with broker:
        put(outbox, "event")
        publish(publishers, broker.port, outbox, username="bed-12", password_file=str(password))
        eventually(lambda: any(entry["event"] == "broker_refused_credentials" for entry in logs), "word of it")
        password.write_text("right\n")
        eventually(lambda: outbox.depth == 0, "delivery after the password was put right")
        assert [entry["event"] for entry in logs] == ["broker_refused_credentials", "broker_connected"]
    assert "wrong-secret" not in str(logs)


def test_broker_of_version_3_1_1_only_gets_events_and_status(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    with amqtt(tmp_path) as broker, Subscriber(broker.port, version=MQTTProtocolVersion.MQTTv311) as subscriber:
        put(outbox, *(f"event-{n}" for n in range(30)))
        publisher = publish(publishers, broker.port, outbox)
        eventually(lambda: set(subscriber.event_ids()) == {f"event-{n}" for n in range(30)}, "all events")
        publisher.stop(5)
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        assert "online" in subscriber.states()
    connected = [entry for entry in logs if entry["event"] == "broker_connected"]
    assert [entry["mqtt"] for entry in connected] == ["3.1.1"]


class Echo:
    """A dialogue that says again what it hears, and fails at one word."""

    subscriptions = (f"{BASE}/command",)

    def __init__(self) -> None:
        self._heard: list[Heard] = []

    def greet(self) -> None:
        pass

    def hear(self, message: Heard) -> None:
        if message.payload == b"fail":
            raise RuntimeError("a defect")
        self._heard.append(message)

    def say(self) -> list[Said]:
        said, self._heard = [Said(f"{BASE}/echo", message.payload) for message in self._heard], []
        return said


@pytest.mark.parametrize("version", ["5", "3.1.1"])
def test_dialogue_hears_and_speaks_in_both_versions_and_its_failure_stops_nothing(
    tmp_path: Path,
    outbox: Outbox,
    publishers: list[Publisher],
    logs: list[Any],
    request: pytest.FixtureRequest,
    version: str,
) -> None:
    start = mosquitto if version == "5" else amqtt
    if version == "5":
        request.getfixturevalue("slow_broker")
    with start(tmp_path) as broker, Subscriber(broker.port, version=MQTTProtocolVersion.MQTTv311) as subscriber:
        publisher = Publisher(MqttSettings(port=broker.port), BASE, outbox, status)
        publishers.append(publisher)
        publisher.add(Echo())
        publisher.start()
        eventually(lambda: "online" in subscriber.states(), "status online")
        for word in ("fail", "fail", "hello"):
            send_once(f"{BASE}/command", word, qos=1, hostname="127.0.0.1", port=broker.port)
        eventually(lambda: f"{BASE}/echo" in [message.topic for message in subscriber.messages], "the echo")
        put(outbox, "event")
        publisher.notify()
        eventually(lambda: subscriber.event_ids() == ["event"], "the event")
        assert publisher.trouble == "Echo failed (a defect)"
    assert [entry["mqtt"] for entry in logs if entry["event"] == "broker_connected"] == [version]
    assert [entry["event"] for entry in logs].count("dialogue_failed") == 1


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers every CONNECT with the same bytes and hangs up; gives its port and what it was asked."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(1024))
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)


def test_broker_that_refuses_version_5_is_asked_in_3_1_1(outbox: Outbox, publishers: list[Publisher]) -> None:
    # So the standard tells a broker of 3.1.1 to answer any other version.
    with answering(b"\x20\x02\x00\x01") as (port, asked):
        publish(publishers, port, outbox)
        eventually(lambda: len(asked) >= 4, "four attempts")
    assert [packet.split(b"MQTT")[1][0] for packet in asked[:4]] == [5, 4, 5, 4]


def test_connection_starts_clean_under_an_identity_that_no_other_device_has(
    outbox: Outbox, publishers: list[Publisher]
) -> None:
    with answering(b"") as (port, asked):
        for base in ("acula/ward-3/bed", "acula/ward/3-bed"):
            publisher = Publisher(MqttSettings(port=port), base, outbox, status)
            publishers.append(publisher)
            publisher.start()
        eventually(lambda: len(asked) >= 4, "two attempts each")
    # After the protocol's name come its version, the flags (0x02: start clean) and, before the will, the identity.
    packets = [packet.partition(b"MQTT")[2] for packet in asked]
    assert {packet[0] for packet in packets} == {4, 5}
    assert all(packet[1] & 0x02 for packet in packets)
    assert len({packet[4:].partition(b"acula/")[0].partition(b"acula")[2] for packet in packets if packet[0] == 5}) == 2


def test_proxy_without_a_broker_is_told_once(outbox: Outbox, publishers: list[Publisher], logs: list[Any]) -> None:
    put(outbox, "event")
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted: list[int] = []

        def hang_up() -> None:
            while True:
                try:
                    server.accept()[0].close()
                except OSError:
                    return
                accepted.append(1)

        threading.Thread(target=hang_up, daemon=True).start()
        publish(publishers, server.getsockname()[1], outbox)
        eventually(lambda: len(accepted) >= 6, "six attempts")
        server.shutdown(socket.SHUT_RDWR)
    assert [entry["event"] for entry in logs] == ["broker_unreachable"]
    assert outbox.depth == 1


def test_pauses_between_attempts_grow_to_a_limit(
    outbox: Outbox, publishers: list[Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_S", 0.05)
    publisher = publish(publishers, free_port(), outbox)
    eventually(lambda: publisher.errors >= 8, "some attempts")
    assert publisher._pause_s == 0.05


def test_outbox_is_looked_after_while_no_broker_answers(tmp_path: Path, publishers: list[Publisher]) -> None:
    with disk_without_room(), capture_logs():
        outbox = open_outbox(tmp_path / "refused.db")
        assert outbox.trouble
    publisher = publish(publishers, free_port(), outbox)
    eventually(lambda: not outbox.trouble, "an outbox on the disk")
    publisher.stop(0)
    outbox.close()


@pytest.mark.broker
def test_tls_with_certificate_of_the_device_delivers(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher]
) -> None:
    make_certificates(tmp_path)
    settings = (
        f"allow_anonymous true\ncafile {tmp_path}/ca.pem\ncertfile {tmp_path}/broker.pem\n"
        f"keyfile {tmp_path}/broker.key\nrequire_certificate true"
    )
    with mosquitto(tmp_path / "broker", settings=settings) as broker:
        put(outbox, *(f"event-{n}" for n in range(100)))
        publish(
            publishers,
            broker.port,
            outbox,
            tls=True,
            ca=str(tmp_path / "ca.pem"),
            certificate=str(tmp_path / "device.pem"),
            key=str(tmp_path / "device.key"),
        )
        eventually(lambda: outbox.depth == 0, "delivery over TLS")


@pytest.mark.broker
def test_broker_with_a_foreign_certificate_gets_nothing(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    make_certificates(tmp_path)
    settings = f"allow_anonymous true\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key"
    with mosquitto(tmp_path / "broker", settings=settings) as broker:
        put(outbox, "event")
        publish(publishers, broker.port, outbox, tls=True)
        eventually(lambda: any(entry["event"] == "broker_unreachable" for entry in logs), "word of it")
    assert "certificate is not trusted" in logs[0]["reason"]
    assert outbox.depth == 1


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_broker_whose_tls_is_older_than_1_2_gets_nothing(
    tmp_path: Path, outbox: Outbox, publishers: list[Publisher], logs: list[Any]
) -> None:
    make_certificates(tmp_path)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.load_cert_chain(tmp_path / "broker.pem", tmp_path / "broker.key")
    put(outbox, "event")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def shake_hands() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                with contextlib.suppress(OSError):
                    old.wrap_socket(connection, server_side=True).close()

        threading.Thread(target=shake_hands, daemon=True).start()
        publish(publishers, server.getsockname()[1], outbox, tls=True, ca=str(tmp_path / "ca.pem"))
        eventually(lambda: any(entry["event"] == "broker_unreachable" for entry in logs), "word of it")
        server.shutdown(socket.SHUT_RDWR)
    assert "protocol version" in logs[0]["reason"]
    assert outbox.depth == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"ca": "/etc/ca.pem"}, "mqtt.tls is false"),
        ({"tls": True, "ca": "/no/such.pem"}, "mqtt.ca = /no/such.pem"),
        ({"tls": True, "key": "/etc/key.pem"}, "mqtt.certificate is empty"),
        ({"tls": True, "certificate": "/no/such.pem"}, "mqtt.certificate = /no/such.pem"),
        ({"password_file": "/no/such"}, "mqtt.username is empty"),
        ({"username": "a", "password_file": "/no/such"}, "mqtt.password_file = /no/such: No such file"),
        ({"password": "a"}, "mqtt.username is empty"),
        ({"username": "a", "password": "b", "password_file": "/no/such"}, "are both set"),
        ({"host": "broker.ward"}, "mqtt.host = broker.ward is another machine and mqtt.tls is false"),
        ({"host": "192.0.2.1"}, "mqtt.allow_plaintext = true"),
    ],
)
def test_settings_that_cannot_work_are_named(outbox: Outbox, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Publisher(MqttSettings(**settings), BASE, outbox, status)
