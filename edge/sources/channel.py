"""One channel of several, or the mix of all."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from edge.resample import mix
from edge.sources.base import Block, Source
from edge.sources.decoding import ChildError


def pick(samples: NDArray[np.float32], channel: int) -> NDArray[np.float32]:
    """(frames, channels) to (frames, 1): channel number `channel`, counted from 1; 0: the mean of all.

    Raises ChildError where there is no such channel.
    """
    if channel > samples.shape[1]:
        raise ChildError(f"has {samples.shape[1]} channels, and source.channel is {channel}")
    mono = samples[:, channel - 1] if channel else mix(samples)
    return mono.reshape(-1, 1)


class OneChannel:
    """One channel of a recording or of standard input. Owns that source."""

    def __init__(self, source: Source, channel: int) -> None:
        """channel: counted from 1. Raises ConfigError where the source has fewer."""
        if channel > source.channels:
            source.close()
            raise ConfigError(f"{source.name} has {source.channels} channels, and source.channel is {channel}")
        self.name = source.name
        self.sample_rate_hz = source.sample_rate_hz
        self.channels = 1
        self._source = source
        self._channel = channel

    @property
    def trouble(self) -> str:
        """That of the source."""
        return self._source.trouble

    def blocks(self) -> Iterator[Block]:
        """The source's blocks, (frames, 1) each."""
        for block in self._source.blocks():
            samples = block.samples[:, self._channel - 1 : self._channel]
            yield Block(block.position, samples)

    def close(self) -> None:
        """Close the source."""
        self._source.close()
