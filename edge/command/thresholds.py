"""Thresholds that a command has set: in force at once, kept beside the outbox if told to, and told where they differ.

Does: checks them against the bundle, passes them on to the listeners, keeps them in one small file, and says how they
differ from the bundle's own. Does not: find events.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from edge.errors import ConfigError
from edge.files import replace_whole
from edge.manifest import Manifest
from edge.sections import Name, Threshold

log = structlog.get_logger()

_THRESHOLDS = TypeAdapter(dict[Name, Threshold])


class Thresholds:
    """What is in force. Set from one thread, asked from any."""

    def __init__(self, configured: Mapping[str, float], manifest: Manifest, kept_in: Path | None) -> None:
        """Take up what the settings name and, over it, what was kept.

        kept_in: the file; None: nothing is kept, and what was is not read.
        """
        self._configured = dict(configured)
        self._own = {label.name: label.operating_point.on for label in manifest.labels}
        self._kept_in = kept_in
        self.current = {**self._configured, **self._read()}
        """Threshold per label, where it is not the bundle's."""
        self.listeners: list[Callable[[Mapping[str, float]], None]] = []
        """Who is told of new ones."""
        self._tell()

    def set(self, thresholds: Mapping[str, float], *, keep: bool) -> None:
        """Bring thresholds into force over the configured ones; those of an earlier command go.

        Raises:
            ConfigError: the bundle has no such label, or they cannot be kept; nothing has changed then.
        """
        for name in thresholds:
            if name not in self._own:
                raise ConfigError(f"{name}: the bundle has no such label, only {', '.join(self._own)}")
        if keep:
            self._keep(thresholds)
        self.current = {**self._configured, **thresholds}
        for apply in self.listeners:
            apply(self.current)
        self._tell()

    def differences(self) -> dict[str, dict[str, float]] | None:
        """What differs from the bundle's own, by label; None where nothing does."""
        differing = {name: on for name, on in self.current.items() if on != self._own.get(name)}
        return {
            name: {"on": on, "bundle": self._own[name]} for name, on in differing.items() if name in self._own
        } or None

    def _tell(self) -> None:
        if differing := self.differences():
            log.warning("thresholds_differ", from_bundle=differing, kept=str(self._kept_in or ""))

    def _keep(self, thresholds: Mapping[str, float]) -> None:
        if self._kept_in is None:
            raise ConfigError("thresholds cannot be kept here")
        try:
            if thresholds:
                replace_whole(self._kept_in, json.dumps(dict(thresholds)).encode())
            else:
                self._kept_in.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{self._kept_in}: cannot be written: {error.strerror}") from error

    def _read(self) -> dict[str, float]:
        if self._kept_in is None:
            return {}
        try:
            kept = _THRESHOLDS.validate_json(self._kept_in.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValidationError) as error:
            reason = getattr(error, "strerror", None) or "is not a JSON object of thresholds"
            log.warning("thresholds_unreadable", file=str(self._kept_in), reason=reason, action="send them again")
            return {}
        for name in kept.keys() - self._own.keys():
            log.warning("threshold_without_label", label=name, file=str(self._kept_in), action="it has no effect")
        return {name: on for name, on in kept.items() if name in self._own}
