from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.config import Settings
from edge.errors import AudioError
from edge.events import Event
from edge.pipeline import Model, detect
from edge.sources.base import Block


class Torn:
    """Four seconds of sound, and after a gap of one as many again."""

    name, sample_rate_hz, channels = "torn", 16_000, 1

    def __init__(self, sound: NDArray[np.float32]) -> None:
        self._sound = sound[:, None]

    def blocks(self) -> Iterator[Block]:
        yield Block(0, self._sound[:16_000])
        yield Block(16_000, self._sound[16_000:])
        yield Block(80_000, self._sound)

    def close(self) -> None:
        pass


def test_gap_in_the_sound_ends_it_with_both_positions_after_the_events_before(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Callable[..., NDArray[np.float32]]
) -> None:
    source = Torn(sounds(16_000, 4.0, coughs=[3.6]))
    events: list[Event] = []
    heard: list[int] = []
    with pytest.raises(AudioError, match="torn: the sound jumps from sample 64000 to 80000"):
        events.extend(
            detect(
                source,
                Model(tiny_bundle, tiny_backend).analyzer(source, Settings()),
                lambda block: heard.append(block.position),
            )
        )
    assert [event.label for event in events] == ["cough"]
    assert heard == [0, 16_000]
