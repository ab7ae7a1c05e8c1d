"""Where sound comes from. `open_source` opens what the settings name; each kind lives in a module of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from edge.errors import AudioError, ConfigError

if TYPE_CHECKING:
    import io

    from edge.sections import SourceSettings
    from edge.sources.base import Source


# Each kind is imported where it is needed: the capture child lives in this package and must start fast.


def open_source(settings: SourceSettings) -> Source:
    """Open the source of the `[source]` section. A microphone or URL need not be there yet.

    Raises:
        ConfigError: a path is missing, or a setting does not fit the source.
        AudioError: a recording cannot be used, standard input is closed, or a program or library is not installed.
    """
    if settings.kind == "microphone":
        if settings.path:
            raise ConfigError("source.path names a recording or URL, and source.kind is microphone: set source.kind")
        from edge.sources.microphone import microphone

        return microphone(
            settings.device,
            channel=settings.channel,
            stall_s=settings.stall_s,
            retry_s=settings.retry_s,
            zeros_s=settings.zeros_s,
        )
    if settings.kind == "stdin":
        from edge.sources.stdin import StdinSource

        if sys.stdin is None:
            raise AudioError("source.kind is stdin, and standard input is closed: feed it, or set another source.kind")
        stream = cast("io.BufferedReader", sys.stdin.buffer)
        source = StdinSource(
            stream,
            sample_rate_hz=settings.sample_rate_hz,
            channels=settings.channels,
            stall_s=settings.stall_s,
        )
        return _one_channel(source, settings.channel)
    if not settings.path:
        raise ConfigError(f"source.path is empty: it names the {settings.kind} to hear; or set another source.kind")
    if settings.kind == "url":
        from edge.sources.url import url_source

        return url_source(
            settings.path,
            channel=settings.channel,
            stall_s=settings.stall_s,
            retry_s=settings.retry_s,
            zeros_s=settings.zeros_s,
        )
    if settings.kind == "folder":
        from edge.sources.folder import FolderSource

        return FolderSource(settings.path, channel=settings.channel, pace=settings.pace)
    from edge.sources.file import FileSource

    return _one_channel(FileSource(settings.path, pace=settings.pace), settings.channel)


def _one_channel(source: Source, channel: int) -> Source:
    if not channel:
        return source
    from edge.sources.channel import OneChannel

    return OneChannel(source, channel)
