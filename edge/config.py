"""Settings of the device: joins the sections and derives the few values that depend on the machine.

Does not: describe what a section holds (`edge.sections`), read the file, the environment and the flags
(`edge.settings`), or open anything that a setting names.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from edge.sections import (
    BundleSettings,
    ClipSettings,
    CommandSettings,
    DashboardSettings,
    DeviceSettings,
    HomeAssistantSettings,
    LogSettings,
    MetricsSettings,
    MqttSettings,
    NamedSourceSettings,
    OutboxSettings,
    RespirationSettings,
    SourceSettings,
    Threshold,
    UpdateSettings,
    WindowSettings,
)
from edge.settings import ProgramSettings

ENVIRONMENT_PREFIX = "ACULA_EDGE__"


class Settings(ProgramSettings):
    """Everything that can be set, with safe defaults."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX)

    device: DeviceSettings = DeviceSettings()
    source: SourceSettings = SourceSettings()
    sources: tuple[NamedSourceSettings, ...] = ()
    """Several sources in place of one: a table [[sources]] for each, with the keys of [source] and a name."""
    bundle: BundleSettings = BundleSettings()
    windows: WindowSettings = WindowSettings()
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """Score from 0.01 to 1 at which an event of a label opens, in place of the bundle's, as label=score."""
    respiration: RespirationSettings = RespirationSettings()
    mqtt: MqttSettings = MqttSettings()
    outbox: OutboxSettings = OutboxSettings()
    clips: ClipSettings = ClipSettings()
    update: UpdateSettings = UpdateSettings()
    metrics: MetricsSettings = MetricsSettings()
    dashboard: DashboardSettings = DashboardSettings()
    commands: CommandSettings = CommandSettings()
    homeassistant: HomeAssistantSettings = HomeAssistantSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _one_way_to_name_sources(self) -> Settings:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"sources with a name each of its own, not {', '.join(names)}")
        if sum(source.kind == "stdin" for source in self.sources) > 1:
            raise ValueError("sources of which one at most is standard input")
        if self.sources and self.source != SourceSettings():
            raise ValueError("either [source] or [[sources]], not both")
        return self

    @property
    def device_name(self) -> str:
        """The name of the device, or the host's where none is set."""
        return self.device.name or re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname())[:64] or "device"

    @property
    def base_topic(self) -> str:
        """The topic under which everything of this device lies."""
        return f"acula/{self.device.site}/{self.device_name}"

    @property
    def outbox_path(self) -> Path:
        """The outbox file, resolved for this machine."""
        if self.outbox.path:
            return Path(self.outbox.path).expanduser()
        return _state_folder() / "outbox.db"

    @property
    def clips_folder(self) -> Path:
        """Where clips are kept, resolved for this machine."""
        return Path(self.clips.folder).expanduser() if self.clips.folder else self.outbox_path.parent / "clips"

    @property
    def update_folder(self) -> Path:
        """Where installed bundles are kept, resolved for this machine."""
        return Path(self.update.folder).expanduser() if self.update.folder else self.outbox_path.parent / "bundles"


def engines_folder(bundle: BundleSettings) -> Path:
    """Where TensorRT engines lie, resolved for this machine."""
    return Path(bundle.engines).expanduser() if bundle.engines else _state_folder() / "engines"


def _state_folder() -> Path:
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/acula-edge")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "acula-edge"
