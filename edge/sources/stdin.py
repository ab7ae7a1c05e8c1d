"""Raw signed 16-bit little-endian PCM from a pipe, such as `arecord -t raw | ...` or `ffmpeg ... -f s16le - | ...`.

Does: reads what comes, makes a gap of what a live recorder did not send, and says when the pipe is silent. Does not:
know what fills the pipe, or start it again.

A pipe tells nothing of time, so time is told by the samples, unless they fall behind it: where the pipe was empty and
what came into it then is late, and nothing follows at once that makes up for it, the sound in between was not recorded
(somebody paused the recorder, or it lost some), which is a gap. A recording that is piped as fast as it is read is
never late.
"""

from __future__ import annotations

import io
import select
import threading
import time
from collections.abc import Iterator

import numpy as np
import structlog
from numpy.typing import NDArray

from edge.cardclock import CardClock
from edge.errors import AudioError
from edge.sources.base import Block

log = structlog.get_logger()

# One read takes what a full Linux pipe holds. Larger than Python's own buffer, so a read leaves nothing in that buffer,
# where `select` would not see it.
READ_BYTES = 65_536
# How soon a closed source stops waiting for a silent pipe.
POLL_S = 0.2

LATE_S = 1.0
"""Sound that is later than this has lost some, unless the rest comes at once. Some recorders write once a second."""
MAKE_UP_S = 0.5
"""For so long late sound is held back to see whether the rest comes at once, as after a network stood still; and for as
long again while it comes at twice its own pace."""
MOST_MADE_UP_S = 60.0
"""Most sound that is held back so; it is in memory."""


class StdinSource:
    """A stream of interleaved PCM. Reads from the stream but does not own it: `close` leaves it open."""

    name = "stdin"

    def __init__(self, stream: io.BufferedIOBase, *, sample_rate_hz: int, channels: int, stall_s: float) -> None:
        """Nothing is read before `blocks`.

        Args:
            stream: a pipe or a stream in memory, read from where it is.
            sample_rate_hz, channels: what the stream holds, which does not say it.
            stall_s: a pipe that has given nothing for so many seconds is told as trouble.
        """
        self.sample_rate_hz = sample_rate_hz
        self.channels = channels
        self.trouble = ""
        self._stream = stream
        self._stall_s = stall_s
        self._frame_bytes = 2 * channels
        self._clock = CardClock(time.monotonic(), is_live=False)
        self._position = 0
        self._read_at_s = 0.0
        self._silent_since = time.monotonic()
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """Blocks of what has arrived, without waiting for more. AudioError when the stream ends before one frame.

        A partial frame at the end, which has no meaning, is dropped and logged.
        """
        rest = b""
        while True:
            has_waited = self._wait()
            if not (data := self._read()):
                break
            self._note_sound()
            data = rest + data
            late_s = 0.0
            if has_waited and self._position and self._late_s(data) > LATE_S:
                data = self._made_up(data)
                late_s = self._late_s(data)
            gap = round(late_s * self.sample_rate_hz) if late_s > LATE_S else 0
            frames = len(data) // self._frame_bytes
            rest = data[frames * self._frame_bytes :]
            if frames:
                yield self._place(self._samples(data, frames), gap)
        if self._closed.is_set():
            return
        if self._position == 0:
            raise AudioError("stdin: ended without sound; expected raw signed 16-bit little-endian samples")
        if rest:
            log.warning("partial_frame_dropped", bytes=len(rest), frame_bytes=self._frame_bytes)

    def close(self) -> None:
        """End a running `blocks` within a fraction of a second."""
        self._closed.set()

    def _place(self, samples: NDArray[np.float32], gap: int) -> Block:
        """The block of these samples, `gap` samples after the last one."""
        block = Block(self._position + gap, samples)
        self._position = block.position + len(samples)
        self._clock.note(self._position / self.sample_rate_hz, self._read_at_s, after_gap=gap > 0)
        return block

    def _samples(self, data: bytes, frames: int) -> NDArray[np.float32]:
        integers = np.frombuffer(data, dtype="<i2", count=frames * self.channels)
        samples = integers.astype(np.float32).reshape(frames, self.channels)
        samples *= np.float32(1 / 32768)
        samples.flags.writeable = False
        return samples

    def _late_s(self, data: bytes) -> float:
        """How much later than its samples say the end of `data` was read, in seconds; below 0: earlier."""
        end = self._position + len(data) // self._frame_bytes
        return self._read_at_s - self._clock.recorded_s(end / self.sample_rate_hz)

    def _made_up(self, data: bytes) -> bytes:
        """`data`, which is late, and what follows it at once."""
        bytes_per_s = self._frame_bytes * self.sample_rate_hz
        while self._late_s(data) > LATE_S and len(data) < MOST_MADE_UP_S * bytes_per_s:
            before, until = len(data), time.monotonic() + MAKE_UP_S
            while self._late_s(data) > LATE_S and (left_s := until - time.monotonic()) > 0 and self._is_ready(left_s):
                if not (more := self._read()):
                    return data
                data += more
            if len(data) - before < 2 * MAKE_UP_S * bytes_per_s:
                break
        return data

    def _wait(self) -> bool:
        """Wait until there is something to read, or the source is closed; whether there was nothing at first."""
        if self._is_ready(0.0):
            return False
        self._silent_since = time.monotonic()
        while not (self._closed.is_set() or self._is_ready(POLL_S)):
            if not self.trouble and time.monotonic() - self._silent_since > self._stall_s:
                self.trouble = f"nothing on standard input for {self._stall_s:g} s: does the recorder run?"
                log.warning("no_sound", source=self.name, reason=self.trouble, action="heard as soon as it goes on")
        return True

    def _note_sound(self) -> None:
        if self.trouble:
            self.trouble = ""
            log.info("sound_is_back", source=self.name, after_s=round(time.monotonic() - self._silent_since, 1))

    def _is_ready(self, timeout_s: float) -> bool:
        """Whether there is something to read, the end included, within so many seconds."""
        try:
            return bool(select.select([self._stream.fileno()], [], [], timeout_s)[0])
        except io.UnsupportedOperation:  # a stream in memory, which never makes anyone wait
            return True

    def _read(self) -> bytes:
        """What has arrived; empty at the end of the stream or once closed."""
        data = b"" if self._closed.is_set() else self._stream.read1(READ_BYTES)
        self._read_at_s = time.monotonic()
        return data
