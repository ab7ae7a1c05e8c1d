"""From the bytes of a capture child to blocks of samples: our own framing, and AU as ffmpeg writes it.

Does: cuts the bytes, and refuses what no sound can be. Does not: read from the child, or place its blocks in time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.sources import framing
from edge.sources.base import HIGHEST_RATE_HZ, LARGEST_SAMPLE, LOWEST_RATE_HZ

MOST_CHANNELS = 64
MOST_FRAMES = 1_000_000
"""Of one block; a header that names more is damage."""

_AU_HEADER = struct.Struct(">4s5I")
_AU_FLOAT32 = 6
_AU_LONGEST_HEADER = 65_536


class ChildError(Exception):
    """A child that does not deliver sound as it should; the text goes on where "the child" would stand."""


@dataclass(frozen=True)
class Sound:
    """What a child has recorded.

    position: index of the first frame since the child began.
    samples: (frames, channels) float32, finite, read-only.
    """

    position: int
    samples: NDArray[np.float32]


class Decoder(Protocol):
    """Bytes of one child in, its sound out."""

    rate_hz: int
    """0 until the child has told it."""

    def feed(self, data: bytes) -> Iterator[Sound]:
        """Take bytes as they come; the blocks that they complete. ChildError, after those, when they are no sound."""
        ...


class FramedDecoder:
    """Reads what `edge.sources.capture` writes."""

    def __init__(self) -> None:
        self.rate_hz = 0
        self._channels = 0
        self._end = 0
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Sound]:
        """See `Decoder`."""
        self._bytes += data
        while len(self._bytes) >= framing.HEADER_BYTES:
            kind, first, second = framing.unpack(self._bytes)
            size = framing.HEADER_BYTES
            if kind == framing.FORMAT and not self._channels:
                self._channels, self.rate_hz = checked_format(first, second)
            elif kind == framing.SOUND and self._channels and 0 < first <= MOST_FRAMES and second >= self._end:
                body = first * self._channels * framing.SAMPLE_BYTES
                if len(self._bytes) < size + body:
                    break
                yield Sound(second, to_samples(bytes(self._bytes[size : size + body]), "<f4", self._channels))
                self._end = second + first
                size += body
            else:
                raise ChildError("sends bytes that are no sound")
            del self._bytes[:size]


class AuDecoder:
    """Reads Sun's AU format with float32 samples, the plainest stream that names its own rate and channels."""

    def __init__(self) -> None:
        self.rate_hz = 0
        self._channels = 0
        self._position = 0
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Sound]:
        """See `Decoder`."""
        self._bytes += data
        if not self._channels and not self._take_header():
            return
        frames = len(self._bytes) // (4 * self._channels)
        if not frames:
            return
        body = bytes(self._bytes[: frames * 4 * self._channels])
        del self._bytes[: len(body)]
        yield Sound(self._position, to_samples(body, ">f4", self._channels))
        self._position += frames

    def _take_header(self) -> bool:
        if len(self._bytes) < _AU_HEADER.size:
            return False
        magic, begin, _, encoding, rate_hz, channels = _AU_HEADER.unpack_from(self._bytes)
        if magic != b".snd" or encoding != _AU_FLOAT32 or not _AU_HEADER.size <= begin <= _AU_LONGEST_HEADER:
            raise ChildError("sends bytes that are no sound")
        if len(self._bytes) < begin:
            return False
        self._channels, self.rate_hz = checked_format(channels, rate_hz)
        del self._bytes[:begin]
        return True


def checked_format(channels: int, rate_hz: int) -> tuple[int, int]:
    """Channels and rate that can be heard. ChildError for others."""
    if not (1 <= channels <= MOST_CHANNELS and LOWEST_RATE_HZ <= rate_hz <= HIGHEST_RATE_HZ):
        raise ChildError(f"delivers {channels} channels at {rate_hz} Hz, which cannot be used")
    return channels, rate_hz


def to_samples(body: bytes, layout: str, channels: int) -> NDArray[np.float32]:
    """Bytes as (frames, channels) float32, read-only. ChildError for samples that are no numbers or far too large."""
    samples = np.frombuffer(body, dtype=layout).astype(np.float32, copy=False).reshape(-1, channels)
    if not np.abs(samples).max() <= LARGEST_SAMPLE:  # False for NaN
        raise ChildError("sends samples that are no sound")
    samples.flags.writeable = False
    return samples
