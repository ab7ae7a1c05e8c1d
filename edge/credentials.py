"""What this device shows to the broker: certificates and a password, from the files that the settings name.

Does: reads them, and names a setting that cannot work. Does not: connect.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from edge.errors import ConfigError
from edge.sections import MqttSettings


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """How to encrypt; None where that is off.

    Raises:
        ConfigError: settings that exclude each other, or a file that cannot be read.
    """
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
    if settings.certificate:
        # A key that asks for a passphrase must not wait for one on a terminal.
        no_passphrase = ""
        try:
            context.load_cert_chain(settings.certificate, settings.key or None, password=no_passphrase)
        except OSError as error:
            reason = error.strerror or error
            raise ConfigError(f"mqtt.certificate = {settings.certificate}: cannot be used: {reason}") from error
    return context


def read_password(settings: MqttSettings) -> str:
    """The password of this moment; empty where there is none.

    Raises:
        ConfigError: its file cannot be read, or belongs to no user.
    """
    if not settings.password_file:
        return ""
    if not settings.username:
        raise ConfigError("mqtt.password_file is set but mqtt.username is empty; name the user that it belongs to")
    try:
        return Path(settings.password_file).read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise ConfigError(f"mqtt.password_file = {settings.password_file}: {reason}") from error
