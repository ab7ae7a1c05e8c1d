"""Checks of the way to the broker, one step after the other: the first that fails is where the trouble lies."""

from __future__ import annotations

import secrets
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

from cryptography import x509

from edge import clock
from edge.config import Settings
from edge.connection import Address, BrokerError, Connection, Protocol
from edge.credentials import Credentials
from edge.doctor.finding import Finding, fail, ok, warn
from edge.errors import ConfigError
from edge.sections import MqttSettings

TIMEOUT_S = 5.0
EXPIRY = timedelta(days=30)
"""How long before its end a certificate is warned of."""


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Name, connection, certificates, login, and leave to publish under the device's own topic."""
    mqtt = settings.mqtt
    try:
        credentials = Credentials(mqtt)
        tls, password = credentials.tls, credentials.password()
    except ConfigError as error:
        yield fail("broker", str(error), "change [mqtt], or the file that it names")
        return
    for name, file in (("mqtt.password_file", mqtt.password_file), ("mqtt.key", mqtt.key or mqtt.certificate)):
        if file and Path(file).stat().st_mode & stat.S_IROTH:
            yield warn("secrets", f"{name} = {file} can be read by every user of this machine", f"chmod o-rwx {file}")
    where = f"{mqtt.host}:{mqtt.port}"
    try:
        found = socket.getaddrinfo(mqtt.host, mqtt.port, type=socket.SOCK_STREAM)
    except OSError as error:
        yield fail(
            "broker name", f"{mqtt.host}: {error.strerror}", "check mqtt.host and the name server of the network"
        )
        return
    yield ok("broker name", f"{mqtt.host} is {found[0][4][0]}")
    try:
        with socket.create_connection((mqtt.host, mqtt.port), TIMEOUT_S) as raw:
            yield ok("broker port", f"{where} accepts connections")
            if tls is not None:
                yield from _check_tls(tls, raw, mqtt)
    except OSError as error:
        yield fail("broker port", f"{where}: {_words(error)}", "check mqtt.port, the broker and the firewall between")
        return
    except _StopError:
        return
    # A will is published by the broker where the connection breaks; nothing is told by this one.
    topic = f"{settings.base_topic}/doctor"
    client_id = f"{settings.base_topic.replace('/', ':')}:doctor:{secrets.token_hex(4)}"
    address = Address(mqtt.host, mqtt.port, client_id, mqtt.username, password, tls, topic)
    yield from _check_login(address, settings.base_topic)


class _StopError(Exception):
    """Without this step the next ones make no sense."""


def _check_tls(tls: ssl.SSLContext, raw: socket.socket, mqtt: MqttSettings) -> Iterator[Finding]:
    try:
        with tls.wrap_socket(raw, server_hostname=mqtt.host) as secured:
            der = secured.getpeercert(binary_form=True)
            version = secured.version()
    except ssl.SSLCertVerificationError as error:
        reason = f"the broker's certificate is not trusted: {error.verify_message}"
        yield fail("broker TLS", reason, _certificate_remedy(error))
        raise _StopError from error
    except OSError as error:
        yield fail("broker TLS", _words(error), "check that mqtt.port speaks TLS, and what the broker asks for")
        raise _StopError from error
    yield ok("broker TLS", f"{version}, the certificate is trusted")
    now = clock.utc_now()
    certificates = [("the broker's certificate", x509.load_der_x509_certificate(der))] if der else []
    for name, file in (("mqtt.ca", mqtt.ca), ("mqtt.certificate", mqtt.certificate)):
        if file:
            read = x509.load_pem_x509_certificates(Path(file).read_bytes())
            certificates += [(f"{name} = {file}", each) for each in read]
    yield from (judge_expiry(name, each.not_valid_after_utc, now) for name, each in certificates)


def judge_expiry(name: str, end: datetime, now: datetime) -> Finding:
    """A certificate that holds until `end`."""
    detail = f"{name} holds until {end:%Y-%m-%d}"
    if end <= now:
        return fail("certificate", f"{name} has expired on {end:%Y-%m-%d}", "renew it")
    if end - now < EXPIRY:
        return warn("certificate", detail, "renew it; without it no event is delivered")
    return ok("certificate", detail)


def _certificate_remedy(error: ssl.SSLCertVerificationError) -> str:
    if "expired" in error.verify_message or "not yet valid" in error.verify_message:
        return f"renew it, or set this device's clock, which says {datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"
    if "ostname" in error.verify_message or "IP address" in error.verify_message:
        return "set mqtt.host to the name that the certificate has"
    return "set mqtt.ca to the certificate of the authority that signed the broker's"


def _check_login(address: Address, base_topic: str) -> Iterator[Finding]:
    wake, other = socket.socketpair()
    with wake, other:
        wake.setblocking(False)
        try:
            connection = _open(address, wake)
        except BrokerError as error:
            detail, remedy = f"{address.host}:{address.port}: {error}", "see the log of the broker"
            if error.trouble == "credentials":
                remedy = f"check mqtt.username and mqtt.password_file, and that this user may write to {base_topic}/#"
            yield fail("broker login", detail, remedy)
            return
        user = f"as {address.username}" if address.username else "without a user name"
        yield ok("broker login", f"MQTT {connection.protocol}, {user}")
        try:
            refusal = _publish(connection, address.will_topic)
        finally:
            connection.close()
        remedy = f"let this user write to {base_topic}/# at the broker"
        yield (
            ok("publish", address.will_topic)
            if not refusal
            else fail("publish", f"{address.will_topic}: {refusal}", remedy)
        )


def _open(address: Address, wake: socket.socket) -> Connection:
    """A connection in version 5, or in 3.1.1 where the broker speaks no more."""
    give_up: Callable[[], bool] = lambda: False  # noqa: E731
    protocols: tuple[Protocol, ...] = ("5", "3.1.1")
    for protocol in protocols:
        connection = Connection(address, protocol, b"", wake)
        try:
            connection.open(TIMEOUT_S, give_up)
        except BrokerError as error:
            connection.drop()
            if protocol == protocols[-1] or error.trouble not in ("unanswered", "protocol"):
                raise
        else:
            return connection
    raise AssertionError


def _publish(connection: Connection, topic: str) -> str:
    """Send an empty message, which nobody keeps; why it was not taken, empty where it was."""
    try:
        number = connection.send(topic, b"")
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            connection.step(0.2)
            for each in connection.take_acknowledgements():
                if each.message == number:
                    return each.refusal
    except BrokerError as error:
        return str(error)
    return "no acknowledgement"


def _words(error: OSError) -> str:
    return "no answer in time" if isinstance(error, TimeoutError) else str(error.strerror or error)
