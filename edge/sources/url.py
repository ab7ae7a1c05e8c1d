"""A stream from the network as a source: RTSP, HTTP and all else that ffmpeg opens, in a child process.

A user name and a password in the URL appear neither in the name of the source nor in its trouble. They do appear in the
list of the machine's processes, since ffmpeg takes them from nowhere but its command line.
"""

from __future__ import annotations

import re
import shutil
import sys
from urllib.parse import urlsplit

from edge.errors import AudioError, ConfigError
from edge.sources.decoding import AuDecoder
from edge.sources.supervised import Limits, SupervisedSource

BURST_S = 60.0
"""A server hands over what it has buffered at the start; an HLS list holds some ten seconds a piece."""
SLIP_S = 30.0
"""Longer than from one piece of an HLS list to the next."""

_CREDENTIALS = re.compile(r"(?<=://)[^/\s]*@")


def url_source(url: str, *, channel: int, stall_s: float, retry_s: float, zeros_s: float) -> SupervisedSource:
    """A live stream that may be absent at the start and come and go.

    Raises:
        ConfigError: that is no URL.
        AudioError: ffmpeg is not installed.
    """
    try:
        parts = urlsplit(url)
        place = f"{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        raise ConfigError("source.path is no URL; write it as rtsp://host/stream") from None
    if not parts.scheme or not parts.hostname:
        raise ConfigError("source.path is no URL; write it as rtsp://host/stream")
    if shutil.which("ffmpeg") is None:
        raise AudioError("source.kind = url needs ffmpeg: apt install ffmpeg")
    secrets = [secret for secret in (parts.query, parts.username, parts.password) if secret]

    def redact(text: str) -> str:
        text = _CREDENTIALS.sub("", text)
        for secret in secrets:
            text = text.replace(secret, "***")
        return text

    return SupervisedSource(
        f"url:{parts.scheme}://{place}",
        ffmpeg_command(url),
        AuDecoder,
        channel=channel,
        limits=Limits(stall_s=stall_s, retry_s=retry_s, zeros_s=zeros_s, burst_s=BURST_S, slip_s=SLIP_S),
        redact=redact,
    )


def ffmpeg_command(url: str) -> list[str]:
    """What decodes the first audio stream of `url`, at its own rate and channels, to standard output."""
    # RTSP over UDP loses packets without a word.
    transport = ["-rtsp_transport", "tcp"] if url.startswith(("rtsp:", "rtsps:")) else []
    leash = [sys.executable, "-m", "edge.sources.leash"]
    quiet = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error"]
    output = ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-flush_packets", "1", "pipe:1"]
    return [*leash, *quiet, *transport, "-i", url, *output]
