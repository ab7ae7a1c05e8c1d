"""What every source of sound looks like to the analysis. Holds no device and no file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 384_000
# Full scale is 1, and a loud float file may exceed it. What exceeds it by so much is integers that were stored as they
# are, whose silence would be analysed as noise, or damage.
LARGEST_SAMPLE = 100.0


@dataclass(frozen=True)
class Block:
    """A piece of sound as the source has it.

    position: index of its first frame at the source's rate, a Python int; a jump is a gap in the sound.
    samples: (frames, channels) float32 in [-1, 1], finite, read-only after creation; the reader may keep it.
    """

    position: int
    samples: NDArray[np.float32]


class Source(Protocol):
    """One stream of sound.

    name: the `source` of its events.
    sample_rate_hz, channels: of every block; known once the first block has been yielded, and fixed from then on.
    """

    name: str
    sample_rate_hz: int
    channels: int

    @property
    def trouble(self) -> str:
        """What keeps a live source from delivering sound, for the status; empty while it is well."""
        ...

    def blocks(self) -> Iterator[Block]:
        """Blocks in order until the source ends or is closed; AudioError when it turns unusable.

        All blocks before the fault have then been yielded.
        """
        ...

    def close(self) -> None:
        """Release the source and end a running `blocks`; any thread, any number of times."""
        ...
