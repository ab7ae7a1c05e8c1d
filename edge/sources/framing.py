"""How a capture child writes sound to its standard output: headers with sample counts between raw samples.

Does: packs and unpacks. Does not: read or write anything. It imports nothing but the standard library, since the child
must start fast.

A stream is one FORMAT header, then SOUND headers, each followed by its samples: interleaved float32, little-endian.
"""

from __future__ import annotations

import struct

FORMAT = b"ACUF"
"""Header of the format: channels, sample rate in Hz."""
SOUND = b"ACUS"
"""Header of a block: its frames, index of its first frame since the child began; a jump is sound that was lost."""

SAMPLE_BYTES = 4
_HEADER = struct.Struct("<4sIQ")
HEADER_BYTES = _HEADER.size


def pack_format(*, channels: int, rate_hz: int) -> bytes:
    """The first header of a stream."""
    return _HEADER.pack(FORMAT, channels, rate_hz)


def pack_sound(*, position: int, frames: int) -> bytes:
    """The header of a block."""
    return _HEADER.pack(SOUND, frames, position)


def unpack(header: bytes | bytearray) -> tuple[bytes, int, int]:
    """Kind, channels or frames, rate or position."""
    kind, first, second = _HEADER.unpack_from(header)
    return kind, first, second
