"""Where sound comes from. `open_source` opens what the settings name; each kind lives in a module of its own."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, cast

from edge.errors import ConfigError
from edge.sources.base import Source
from edge.sources.file import FileSource
from edge.sources.stdin import StdinSource

if TYPE_CHECKING:
    from edge.sections import SourceSettings


def open_source(settings: SourceSettings) -> Source:
    """Open the source of the `[source]` section. Raises ConfigError without a path, AudioError for an unusable one."""
    if settings.kind == "stdin":
        stream = cast("io.BufferedReader", sys.stdin.buffer)
        return StdinSource(stream, sample_rate_hz=settings.sample_rate_hz, channels=settings.channels)
    if not settings.path:
        raise ConfigError("source.path is empty: name a sound file, or set source.kind to stdin")
    return FileSource(settings.path, pace=settings.pace)
