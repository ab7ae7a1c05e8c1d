"""Settings of the device: joins the sections and derives the few values that depend on the machine.

Does not: describe what a section holds (`edge.sections`), read the file, the environment and the flags
(`edge.settings`), or open anything that a setting names.
"""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from edge.sections import (
    BundleSettings,
    DeviceSettings,
    LogSettings,
    MqttSettings,
    OutboxSettings,
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
    bundle: BundleSettings = BundleSettings()
    windows: WindowSettings = WindowSettings()
    thresholds: dict[str, Threshold] = Field(default_factory=dict)
    """Score from 0.01 to 1 at which an event of a label opens, in place of the bundle's, as label=score."""
    mqtt: MqttSettings = MqttSettings()
    outbox: OutboxSettings = OutboxSettings()
    update: UpdateSettings = UpdateSettings()
    log: LogSettings = LogSettings()

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
    def update_folder(self) -> Path:
        """Where installed bundles are kept, resolved for this machine."""
        return Path(self.update.folder).expanduser() if self.update.folder else self.outbox_path.parent / "bundles"


def _state_folder() -> Path:
    given = os.environ.get("STATE_DIRECTORY", "").split(":")[0]
    if given:
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/acula-edge")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "acula-edge"
