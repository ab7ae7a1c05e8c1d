"""How the broker knows this device, and this device the broker: TLS, certificates, password.

Does: checks the settings at the start, refuses to send in the clear to another machine unless told to, reads the
password anew for each attempt, and warns of secrets that others can read. Does not: connect, or say any secret.
"""

from __future__ import annotations

import ipaddress
import ssl
import stat
from pathlib import Path

import structlog

from edge.errors import ConfigError
from edge.sections import MqttSettings

log = structlog.get_logger()


class Credentials:
    """What the settings name, checked once."""

    def __init__(self, settings: MqttSettings) -> None:
        """Read the files once, so that what cannot work is told at the start.

        Raises:
            ConfigError: a host that can be none, settings that exclude each other or send in the clear, or a file that
                cannot be read.
        """
        self._settings = settings
        try:
            settings.host.encode("idna")
        except UnicodeError as error:
            raise ConfigError(f"mqtt.host = {settings.host} can be no host name; write it as broker.example") from error
        if not (settings.tls or settings.allow_plaintext or is_loopback(settings.host)):
            raise ConfigError(
                f"mqtt.host = {settings.host} is another machine and mqtt.tls is false: events and password could be "
                "read on the way; set mqtt.tls = true, or mqtt.allow_plaintext = true on a network that you trust"
            )
        if settings.password_file and settings.password.get_secret_value():
            raise ConfigError("mqtt.password_file and mqtt.password are both set; clear one of them")
        if (settings.password_file or settings.password.get_secret_value()) and not settings.username:
            which = "password_file" if settings.password_file else "password"
            raise ConfigError(f"mqtt.{which} is set but mqtt.username is empty; name the user that it belongs to")
        self.tls = _tls_context(settings)
        """None: plain text."""
        self.password()
        for name in ("password_file", "key" if settings.key else "certificate"):
            warn_if_open(f"mqtt.{name}", getattr(settings, name))

    def password(self) -> str:
        """The password as it is now; empty where none is set.

        Raises:
            ConfigError: its file cannot be read.
        """
        name = self._settings.password_file
        if not name:
            return self._settings.password.get_secret_value()
        try:
            return Path(name).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except UnicodeDecodeError:
            # Without its cause, which quotes what it could not decode.
            raise ConfigError(f"mqtt.password_file = {name}: is not text") from None
        except OSError as error:
            raise ConfigError(f"mqtt.password_file = {name}: {error.strerror}") from error


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by its name or address alone; nothing is looked up."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    if not settings.tls:
        for name in ("ca", "certificate", "key"):
            if getattr(settings, name):
                raise ConfigError(f"mqtt.{name} is set but mqtt.tls is false; set mqtt.tls = true or clear mqtt.{name}")
        return None
    if settings.key and not settings.certificate:
        raise ConfigError("mqtt.key is set but mqtt.certificate is empty; name the certificate that belongs to the key")
    try:
        context = ssl.create_default_context(cafile=settings.ca or None)
    except OSError as error:
        raise ConfigError(f"mqtt.ca = {settings.ca}: cannot be read as PEM: {error.strerror or error}") from error
    # Whatever the system's OpenSSL would still allow.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if settings.certificate:
        # A key that asks for a passphrase must not wait for one on a terminal.
        no_passphrase = ""
        try:
            context.load_cert_chain(settings.certificate, settings.key or None, password=no_passphrase)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"mqtt.certificate = {settings.certificate}: cannot be used: {reason}") from error
    return context


def warn_if_open(setting: str, path: str) -> None:
    """Log a secret that every user may read; others of its group may be meant to."""
    if path and Path(path).stat().st_mode & stat.S_IROTH:
        log.warning("secret_readable_by_all", setting=setting, file=path, action=f"chmod o-rwx {path}")
