"""The broker that `deploy/mosquitto` describes, two devices on it, and one of them hostile."""

from __future__ import annotations

import json
import re
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from bench.mosquitto import free_port
from edge.config import Settings
from edge.doctor import broker as doctor
from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.sections import MqttSettings
from tests.brokers import PATIENCE_S, eventually, mosquitto
from tests.certificates import make_certificates
from tests.programs import ROOT
from tests.publishing import BASE, put, status

pytestmark = pytest.mark.broker

USERS = ("bed-12", "bed-13", "ward", "homeassistant", "operator")
DISCOVERY = "homeassistant/device/acula_ward-3_bed-12/config"


@dataclass
class Site:
    """A running broker."""

    ports: dict[str, int]
    folder: Path
    log: Path

    def denied(self) -> set[str]:
        """Topics of messages that the broker has refused."""
        return set(re.findall(r"Denied PUBLISH from .*'([^']+)', \.\.\. \(", self.log.read_text()))

    def port(self, user: str) -> int:
        return self.ports["8883" if user.startswith("bed") else "8884"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The deployed files as they are, but for their paths and ports."""
    folder = tmp_path_factory.mktemp("site")
    make_certificates(folder)
    for user in USERS:
        accounts = folder / ("acula-devices.passwd" if user.startswith("bed") else "acula-people.passwd")
        create = [] if accounts.exists() else ["-c"]
        subprocess.run(["mosquitto_passwd", "-b", *create, str(accounts), user, f"secret of {user}"], check=True)
    (folder / "acula.acl").write_text((ROOT / "deploy" / "mosquitto" / "acula.acl").read_text())
    for path in folder.glob("acula*"):
        path.chmod(0o644)
    ports = {"8883": free_port(), "8884": free_port()}
    text = (ROOT / "deploy" / "mosquitto" / "acula.conf").read_text()
    text = text.replace("/etc/mosquitto/certs", str(folder)).replace("/etc/mosquitto", str(folder))
    text = re.sub(r"(?m)^listener (\d+)", lambda found: f"listener {ports[found[1]]} 127.0.0.1", text)
    # The helper names a listener and persistence of its own.
    text = re.sub(r"(?m)^persistence.*\n", "", text)
    with mosquitto(folder / "broker", settings=text) as broker:
        yield Site(ports, folder, broker.log)


class Client:
    """Somebody with a user name at the broker; 3.1.1, in which a forbidden message is swallowed without a word."""

    def __init__(self, site: Site, user: str, *subscriptions: str, client_id: str = "") -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._done = threading.Event()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.username_pw_set(user, f"secret of {user}")
        self._client.tls_set_context(ssl.create_default_context(cafile=site.folder / "ca.pem"))
        self._client.on_message = lambda _client, _data, message: self.messages.append((message.topic, message.payload))
        self._client.on_subscribe = lambda *_: self._done.set()
        self._client.on_connect = lambda *_: self._client.subscribe([(topic, 1) for topic in subscriptions or ["x"]])
        self._client.reconnect_delay_set(60, 60)
        self._client.connect("127.0.0.1", site.port(user))
        self._client.loop_start()
        assert self._done.wait(PATIENCE_S)

    def publish(self, topic: str, payload: str, *, retain: bool = False) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def topics(self) -> set[str]:
        return {topic for topic, _ in list(self.messages)}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def clients(site: Site) -> Iterator[Callable[..., Client]]:
    opened: list[Client] = []

    def open_client(user: str, *subscriptions: str, client_id: str = "") -> Client:
        opened.append(Client(site, user, *subscriptions, client_id=client_id))
        return opened[-1]

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def honest(site: Site, outbox: Outbox, tmp_path: Path) -> Iterator[Publisher]:
    """bed-12, as the README configures it."""
    (tmp_path / "password").write_text("secret of bed-12\n")
    (tmp_path / "password").chmod(0o600)
    settings = MqttSettings(
        port=site.port("bed-12"),
        tls=True,
        ca=str(site.folder / "ca.pem"),
        username="bed-12",
        password_file=str(tmp_path / "password"),
    )
    publisher = Publisher(settings, BASE, outbox, status)
    publisher.start()
    yield publisher
    publisher.stop(0)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox(tmp_path / "outbox.db", max_mb=10, max_age_days=1)
    yield outbox
    outbox.close()


def test_hostile_device_speaks_for_nobody_else_and_commands_nobody(
    site: Site, honest: Publisher, outbox: Outbox, clients: Callable[..., Client]
) -> None:
    operator = clients("operator", "acula/#")
    homeassistant = clients("homeassistant", "homeassistant/#")
    forbidden = {f"{BASE}/{end}" for end in ("event", "status", "command", "command/result", "state")}
    forbidden |= {DISCOVERY, "homeassistant/status", "acula/ward-3/bed-13/command", "acula/ward-4/bed-13/event"}
    for topic in forbidden:
        clients("bed-13").publish(topic, "forged", retain=True)  # the broker ends a connection after one of these
        eventually(lambda: topic in site.denied(), f"the refusal of {topic}")  # noqa: B023
    assert site.denied() == forbidden
    hostile = clients("bed-13")
    hostile.publish("acula/ward-3/bed-13/event", "its own")
    hostile.publish("homeassistant/device/acula_ward-3_bed-13/config", "its own")
    eventually(lambda: ("acula/ward-3/bed-13/event", b"its own") in operator.messages, "its own event")
    eventually(lambda: bool(homeassistant.messages), "its own announcement")
    put(outbox, "event")
    honest.notify()
    eventually(lambda: f"{BASE}/event" in operator.topics(), "the honest device's event")
    assert not [message for message in operator.messages + homeassistant.messages if message[1] == b"forged"]


def test_hostile_device_reads_nothing_of_another(
    honest: Publisher, outbox: Outbox, clients: Callable[..., Client]
) -> None:
    operator = clients("operator", "acula/#")
    hostile = clients("bed-13", "#", "acula/#", f"{BASE}/#", f"{BASE}/status", "acula/ward-3/bed-13/command")
    eventually(lambda: f"{BASE}/status" in operator.topics(), "the honest device's status")
    put(outbox, "event")
    honest.notify()
    eventually(lambda: outbox.depth == 0, "delivery")
    operator.publish(f"{BASE}/command", "for bed-12")
    operator.publish("acula/ward-3/bed-13/command", "for bed-13")
    eventually(lambda: bool(hostile.messages), "what is for it")
    assert set(hostile.messages) == {("acula/ward-3/bed-13/command", b"for bed-13")}


def test_hostile_device_that_claims_the_others_identity_does_not_push_it_out(
    honest: Publisher, clients: Callable[..., Client]
) -> None:
    operator = clients("operator", f"{BASE}/status")
    states = lambda: [json.loads(payload)["state"] for _, payload in list(operator.messages)]  # noqa: E731
    eventually(lambda: "online" in states(), "status online")
    clients("bed-13", client_id=BASE.replace("/", ":"))
    clients("bed-13", client_id="bed-12")
    honest.stop(5, "the end")
    eventually(lambda: states()[-1] == "offline", "status offline")
    assert json.loads(operator.messages[-1][1])["reason"] == "the end"
    assert states().count("offline") <= 2  # one may be retained from before


def test_doctor_finds_nothing_wrong_with_a_device_that_follows_the_rules(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "TIMEOUT_S", PATIENCE_S)  # a busy machine is no fault of the broker's
    (tmp_path / "password").write_text("secret of bed-12\n")
    (tmp_path / "password").chmod(0o600)
    mqtt = {"port": site.ports["8883"], "tls": True, "ca": str(site.folder / "ca.pem"), "username": "bed-12"}
    mqtt["password_file"] = str(tmp_path / "password")
    device = Settings.model_validate({"device": {"site": "ward-3", "name": "bed-12"}, "mqtt": mqtt})
    findings = {finding.check: finding for finding in doctor.check_broker(device) if finding.check != "certificate"}
    assert "publish" in findings
    assert [finding.text() for finding in findings.values() if finding.state != "ok"] == []


@pytest.mark.parametrize(
    ("listener", "tls", "user"),
    [
        ("8883", False, "bed-12"),
        ("8883", True, ""),
        ("8883", True, "operator"),
        ("8884", True, "bed-13"),  # there it could claim bed-12's identity and push it out
    ],
)
def test_nobody_connects_without_tls_or_password_or_where_others_do(
    site: Site, listener: str, tls: bool, user: str
) -> None:
    client, reasons = paho.Client(CallbackAPIVersion.VERSION2, "bed-12", protocol=MQTTProtocolVersion.MQTTv311), []
    client.on_connect = lambda _client, _data, _flags, reason, _properties: reasons.append(str(reason))
    if tls:
        client.tls_set_context(ssl.create_default_context(cafile=site.folder / "ca.pem"))
    if user:
        client.username_pw_set(user, f"secret of {user}")
    client.connect("127.0.0.1", site.ports[listener])
    eventually(lambda: bool(reasons) or client.loop(0.1) != paho.MQTT_ERR_SUCCESS, "the end of the connection")
    client.disconnect()
    assert reasons in ([], ["Not authorized"], ["Bad user name or password"])
