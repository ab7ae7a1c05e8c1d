"""The sections of the device's settings: what can be set in each, in which range, and what it means.

Does: describes every setting with its unit, range and default. Does not: join the sections (`edge.config`), read the
file, the environment or the flags (`edge.settings`), or open anything that a setting names.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer
from pydantic_settings import CliSuppress

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
_SECRET_IN_URL = re.compile(r"(?<=://)[^/\s]*(?=@)|(?<=\?).+")
"""User and password, and a query, in which some cameras want them."""
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

    kind: Literal["microphone", "file", "folder", "url", "stdin"] = "microphone"
    """microphone: a sound card; file: a recording; folder: the recordings in it, one after the other; url: a live
    stream that ffmpeg can open (rtsp, http, ...); stdin: raw signed 16-bit little-endian PCM on standard input."""
    path: str = ""
    """The recording, the folder or the URL. User name, password and query of a URL stay out of names, logs,
    status and printed settings."""
    device: str = ""
    """The microphone as `python -m edge devices` calls it: usb-VENDOR:PRODUCT-SERIAL, the id of an ALSA card, or
    pulse:NAME; empty: the system's default."""
    channel: Annotated[int, Field(ge=0, le=64)] = 0
    """The only channel to hear, counted from 1; 0: the mean of all."""
    stall_s: Annotated[float, Field(ge=0.5, le=3600.0, allow_inf_nan=False)] = 5.0
    """A microphone or URL that has given no sound for so many seconds is closed and opened anew; standard input that
    has given none is told as trouble."""
    retry_s: Annotated[float, Field(ge=0.5, le=3600.0, allow_inf_nan=False)] = 30.0
    """Longest pause, in seconds, between two attempts to open a microphone or URL that is not there."""
    zeros_s: Annotated[float, Field(ge=0.0, le=86_400.0, allow_inf_nan=False)] = 60.0
    """A microphone or URL that has given nothing but zeros for so many seconds is told as trouble, and counts as
    missing from then on; 0: never, for a device that mutes itself in silence."""
    pace: Literal["realtime", "fast"] = "realtime"
    """Pace of a file or folder: realtime, as if it were heard now; fast, as fast as it can be analysed."""
    sample_rate_hz: Annotated[int, Field(ge=1000, le=384_000)] = 16_000
    """Sample rate of standard input, in hertz; every other source names its own."""
    channels: Annotated[int, Field(ge=1, le=64)] = 1
    """Interleaved channels of standard input; every other source names its own."""

    @field_serializer("path", when_used="json")
    def _without_secrets(self, path: str) -> str:
        """The path as `--print-config` may show it."""
        return _SECRET_IN_URL.sub("***", path) if "://" in path else path


class NamedSourceSettings(SourceSettings):
    """One of several sources, with a name of its own."""

    name: Name
    """The `source` of its events, unique in this list: letters, digits, dot, dash, underscore, at most 64."""


class BundleSettings(Section):
    """Which model runs."""

    path: str = ""
    """Folder of the bundle, or the name of one that ships: room, for a microphone in a room, or auscultation, for one
    on the chest; empty: room."""
    trusted_keys: tuple[str, ...] = ()
    """PEM files of the Ed25519 public keys whose signature on a bundle is accepted."""
    allow_unsigned: bool = False
    """Run a bundle that nobody has signed."""
    backend: Literal["auto", "onnxruntime", "tensorrt"] = "auto"
    """What computes; auto: TensorRT where it is installed and an engine was built, else ONNX Runtime. An engine that
    does not prove itself is not used: ONNX Runtime goes on, and the status says why."""
    engines: str = ""
    """Folder of TensorRT engines built on this board; empty: engines, beside the outbox file's default."""


class WindowSettings(Section):
    """How the stream is cut for the model."""

    window_s: Annotated[float, Field(ge=0.1, le=60.0, allow_inf_nan=False)] | None = None
    """Length of a window, in seconds; default: the bundle's."""
    hop_s: Annotated[float, Field(ge=0.01, le=60.0, allow_inf_nan=False)] | None = None
    """Time from one window to the next, in seconds, a multiple of 0.01, at most the window; default: the bundle's."""


class RespirationSettings(Section):
    """Whether the breathing rate is followed."""

    enabled: bool | None = None
    """Tell the breathing rate, null where it is unsure; default: for contact audio only, where it was measured. In
    airborne sound it follows the breath score, and where breath is heard both in and out it may tell twice the rate."""


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
    password: CliSuppress[Annotated[SecretStr, Field(exclude=True, repr=False)]] = SecretStr("")
    """The password itself, from the environment alone: neither a file for all settings nor a command line keeps it."""
    allow_plaintext: bool = False
    """Send without TLS to a broker on another machine, where everybody on the way can read events and password."""


class OutboxSettings(Section):
    """Where events wait until the broker has acknowledged them."""

    path: str = ""
    """SQLite file; empty: outbox.db in systemd's StateDirectory, else in /var/lib/acula-edge for root, else in the
    user's state folder (~/.local/state/acula-edge)."""
    max_mb: Annotated[float, Field(ge=1.0, le=100_000.0, allow_inf_nan=False)] = 200.0
    """Most megabytes of waiting events on disk; beyond it the oldest are dropped, counted and logged."""
    max_age_days: Annotated[float, Field(ge=0.01, le=3650.0, allow_inf_nan=False)] = 30.0
    """Most days that an event waits before it is dropped, counted and logged."""


class UpdateSettings(Section):
    """How new bundles are taken in while the daemon runs."""

    enabled: bool = False
    """Take bundles from the inbox and, where hosts are named, by command. `python -m edge update` works in any case."""
    folder: str = ""
    """Where installed bundles are kept; empty: bundles beside the outbox."""
    inbox: str = ""
    """Folder in which an archive named *.tar is taken in and removed; empty: inbox in that folder."""
    max_mb: Annotated[float, Field(ge=1.0, le=4096.0, allow_inf_nan=False)] = 64.0
    """Most megabytes of an archive, and of what it holds."""
    hosts: tuple[str, ...] = ()
    """Hosts from which an archive may be fetched over HTTPS, as updates.example.org or updates.example.org:8443."""
    ca: str = ""
    """PEM file of the authority that signed those hosts' certificates; empty: those that the system trusts."""
    authorization_file: str = ""
    """File whose first line is sent to those hosts as Authorization, such as Bearer and a token; empty: none."""
    timeout_s: Annotated[float, Field(ge=1.0, le=600.0, allow_inf_nan=False)] = 30.0
    """Longest silence of a host, in seconds, before fetching from it is given up."""
    probation_s: Annotated[float, Field(ge=1.0, le=86_400.0, allow_inf_nan=False)] = 600.0
    """How long, in seconds, a new bundle must have run well before the old one is removed; until then any start that
    follows an end out of order goes back to the old one."""


class ClipSettings(Section):
    """Sound that is kept on disk. Off, nothing is; on, no clip that may hold speech is."""

    enabled: bool = False
    """Write a clip of each event, unless there may be speech in it. Needs a bundle that knows speech."""
    folder: str = ""
    """Where clips are kept, a folder that nobody else may enter; empty: clips beside the outbox."""
    pre_roll_s: Annotated[float, Field(ge=0.0, le=10.0, allow_inf_nan=False)] = 1.0
    """How much of what came before an event its clip holds, in seconds."""
    post_roll_s: Annotated[float, Field(ge=0.0, le=10.0, allow_inf_nan=False)] = 0.5
    """How much of what came after an event its clip holds, in seconds."""
    speech_score: Annotated[float, Field(ge=0.0, le=0.9, allow_inf_nan=False)] = 0.1
    """A clip with a higher score of speech, 0 to 1, anywhere in it is not written."""
    max_age_days: Annotated[float, Field(ge=0.01, le=3650.0, allow_inf_nan=False)] = 30.0
    """Most days that a clip is kept."""
    max_mb: Annotated[float, Field(ge=1.0, le=1_000_000.0, allow_inf_nan=False)] = 500.0
    """Most megabytes of clips; beyond it the oldest are removed."""
    min_free_mb: Annotated[float, Field(ge=1.0, le=1_000_000.0, allow_inf_nan=False)] = 200.0
    """Megabytes that clips leave free on the disk; below it the oldest are removed, then none is written."""


class MetricsSettings(Section):
    """Figures for Prometheus, over HTTP without a password."""

    enabled: bool = True
    """Serve them at /metrics. A port that is taken is told in the log and stops nothing."""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to serve at; 127.0.0.1: to this machine alone."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 9105
    """TCP port; 0: any that is free, told in the log."""


class DashboardSettings(Section):
    """A page that shows in a browser what is heard, without a password. It holds no sound, and nothing to set."""

    enabled: bool = False
    """Serve it. A port that is taken is told in the log and stops nothing."""
    host: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """Address to serve at; 127.0.0.1: to this machine alone."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """TCP port; 0: any that is free, told in the log."""


class CommandSettings(Section):
    """Whether this device takes commands over MQTT."""

    enabled: bool = False
    """Take commands (thresholds, update, restart) from acula/<site>/<name>/command; the broker says who may send."""


class HomeAssistantSettings(Section):
    """Whether this device shows itself to Home Assistant."""

    enabled: bool = False
    """Announce the device by MQTT discovery, and keep counts of coughs for it."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "homeassistant"
    """Home Assistant's discovery prefix."""


class LogSettings(Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severity that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """json: one object a line; console: for people; auto: console on a terminal, json elsewhere."""
