"""Raw signed 16-bit little-endian PCM from a pipe, such as `arecord -t raw | ...` or `ffmpeg ... -f s16le - | ...`."""

from __future__ import annotations

import io
import select
import threading
from collections.abc import Iterator

import numpy as np
import structlog

from edge.errors import AudioError
from edge.sources.base import Block

log = structlog.get_logger()

# One read takes what a full Linux pipe holds. Larger than Python's own buffer, so a read leaves nothing in that buffer,
# where `select` would not see it.
READ_BYTES = 65_536
# How soon a closed source stops waiting for a silent pipe.
POLL_S = 0.2


class StdinSource:
    """A stream of interleaved PCM. Reads from the stream but does not own it: `close` leaves it open."""

    name = "stdin"

    def __init__(self, stream: io.BufferedIOBase, *, sample_rate_hz: int, channels: int) -> None:
        """`stream`: a pipe or a stream in memory, read from where it is."""
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.trouble = ""
        self._stream = stream
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Blocks of what has arrived, without waiting for more. AudioError when the stream ends before one frame.

        A partial frame at the end, which has no meaning, is dropped and logged.
        """
        frame_bytes = 2 * self.channels
        position = 0
        rest = b""
        while data := self._read():
            data = rest + data
            frames = len(data) // frame_bytes
            rest = data[frames * frame_bytes :]
            if frames:
                integers = np.frombuffer(data, dtype="<i2", count=frames * self.channels)
                samples = integers.astype(np.float32).reshape(frames, self.channels)
                samples *= np.float32(1 / 32768)
                samples.flags.writeable = False
                yield Block(position, samples)
                position += frames
        if self._closed.is_set():
            return
        if position == 0:
            raise AudioError("stdin: ended without sound; expected raw signed 16-bit little-endian samples")
        if rest:
            log.warning("partial_frame_dropped", bytes=len(rest), frame_bytes=frame_bytes)

    def close(self) -> None:
        """End a running `blocks` within a fraction of a second."""
        self._closed.set()

    def _read(self) -> bytes:
        """What has arrived; empty at the end of the stream or once closed."""
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:  # a stream in memory, which never makes anyone wait
            return b"" if self._closed.is_set() else self._stream.read1(READ_BYTES)
        while not self._closed.is_set():
            if select.select([descriptor], [], [], POLL_S)[0]:
                return self._stream.read1(READ_BYTES)
        return b""
