"""The sections of the device's settings: what can be set in each, in which range, and what it means.

Does: describes every setting with its unit, range and default. Does not: join the sections (`edge.config`), read the
file, the environment or the flags (`edge.settings`), or open anything that a setting names.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Threshold = Annotated[float, Field(ge=0.01, le=1.0, allow_inf_nan=False)]


class Section(BaseModel):
    """What every section of the settings shares: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class DeviceSettings(Section):
    """Who this device is; its MQTT topics begin with acula/<site>/<name>."""

    site: Name = "site"
    """Place of the device, the second level of its topics: letters, digits, dot, dash, underscore, at most 64."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{0,64}$")] = ""
    """Name of the device, unique at its broker, the third level of its topics; empty: the host name."""


class SourceSettings(Section):
    """Where the sound comes from."""

    kind: Literal["file", "stdin"] = "file"
    """file: a recording; stdin: raw signed 16-bit little-endian PCM on standard input."""
    path: str = ""
    """The recording, for kind = file."""
    pace: Literal["realtime", "fast"] = "realtime"
    """Pace of a file: realtime, as if it were heard now; fast, as fast as it can be analysed."""
    sample_rate_hz: Annotated[int, Field(ge=1000, le=384_000)] = 16_000
    """Sample rate of standard input, in hertz; a file names its own."""
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    """Interleaved channels of standard input, mixed to one; a file names its own."""


class NamedSourceSettings(SourceSettings):
    """One of several sources, with a name of its own."""

    name: Name
    """The `source` of its events, unique in this list: letters, digits, dot, dash, underscore, at most 64."""


class BundleSettings(Section):
    """Which model runs."""

    path: str = ""
    """Folder of the bundle; empty: the bundle that ships."""
    trusted_keys: tuple[str, ...] = ()
    """PEM files of the Ed25519 public keys whose signature on a bundle is accepted."""
    allow_unsigned: bool = False
    """Run a bundle that nobody has signed."""
    backend: Literal["auto", "onnxruntime"] = "auto"
    """What computes; auto: the best that this machine has."""


class WindowSettings(Section):
    """How the stream is cut for the model."""

    window_s: Annotated[float, Field(ge=0.1, le=60.0, allow_inf_nan=False)] | None = None
    """Length of a window, in seconds; default: the bundle's."""
    hop_s: Annotated[float, Field(ge=0.01, le=60.0, allow_inf_nan=False)] | None = None
    """Time from one window to the next, in seconds, a multiple of 0.01, at most the window; default: the bundle's."""


class RespirationSettings(Section):
    """Whether the breathing rate is followed."""

    enabled: bool = True
    """Tell the breathing rate, from the breath score of a bundle for airborne sound or from the sound itself of one for
    contact audio; it is null where it is unsure."""


class MqttSettings(Section):
    """The broker that takes events and status."""

    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Host name or address of the broker."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 1883
    """TCP port of the broker; 8883 is usual with TLS."""
    tls: bool = False
    """Encrypt the connection and check the broker's certificate."""
    ca: str = ""
    """PEM file of the authority that signed the broker's certificate; empty: those that the system trusts."""
    certificate: str = ""
    """PEM file of this device's certificate, where the broker asks for one."""
    key: str = ""
    """PEM file of that certificate's private key; empty: it is in the certificate's file."""
    username: str = ""
    """User name at the broker; empty: none."""
    password_file: str = ""
    """File whose first line is the password at the broker; empty: none."""


class OutboxSettings(Section):
    """Where events wait until the broker has acknowledged them."""

    path: str = ""
    """SQLite file; empty: outbox.db in systemd's StateDirectory, else in /var/lib/acula-edge for root, else in the
    user's state folder (~/.local/state/acula-edge)."""
    max_mb: Annotated[float, Field(ge=1.0, le=100_000.0, allow_inf_nan=False)] = 200.0
    """Most megabytes of waiting events on disk; beyond it the oldest are dropped, counted and logged."""
    max_age_days: Annotated[float, Field(ge=0.01, le=3650.0, allow_inf_nan=False)] = 30.0
    """Most days that an event waits before it is dropped, counted and logged."""


class LogSettings(Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """json: one object a line; console: for people; auto: console on a terminal, json elsewhere."""
