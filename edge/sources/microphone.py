"""A microphone as a source: PortAudio in a child process (`edge.sources.capture`), watched and started anew."""

from __future__ import annotations

import importlib.util
import sys

from edge.errors import AudioError
from edge.sources.decoding import FramedDecoder
from edge.sources.supervised import Limits, SupervisedSource

BURST_S = 5.0
"""PulseAudio may hand over some seconds at once after it has been busy."""


def capture_command(*arguments: str) -> list[str]:
    """The command line of the capture child.

    Raises:
        AudioError: PyAudio is not installed.
    """
    if importlib.util.find_spec("pyaudio") is None:
        raise AudioError("a microphone needs PyAudio: pip install 'acula-edge[mic]'")
    return [sys.executable, "-m", "edge.sources.capture", *arguments]


def microphone(device: str, *, channel: int, stall_s: float, retry_s: float, zeros_s: float) -> SupervisedSource:
    """A microphone that may be absent at the start and come and go.

    Raises:
        AudioError: PyAudio is not installed.
    """
    return SupervisedSource(
        f"microphone:{device or 'default'}",
        capture_command("listen", device, str(channel)),
        FramedDecoder,
        channel=channel,
        limits=Limits(stall_s=stall_s, retry_s=retry_s, zeros_s=zeros_s, burst_s=BURST_S),
    )
