"""Gaps: no window reaches over one, nothing on either side is lost, and the counted times add up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.analysis import Analysed
from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.config import Settings
from edge.errors import AudioError
from edge.events import Event
from edge.pipeline import Model, SourceAnalyzer, detect
from edge.sources.base import Block

Sounds = Callable[..., NDArray[np.float32]]
FRAME = 160


class Torn:
    """Pieces of sound (frames,) at the positions where they lie."""

    name, channels, trouble = "torn", 1, ""

    def __init__(self, pieces: Sequence[tuple[int, NDArray[np.float32]]], rate_hz: int = 16_000) -> None:
        self._pieces = pieces
        self.sample_rate_hz = rate_hz

    def blocks(self) -> Iterator[Block]:
        for position, samples in self._pieces:
            yield Block(position, samples[:, None])

    def close(self) -> None:
        pass


def hear(bundle: Bundle, backend: Backend, source: Torn) -> tuple[list[Event], list[Analysed]]:
    """The events, and the windows in which they were found."""
    windows: list[Analysed] = []
    analyzer = SourceAnalyzer(Model(bundle, backend), Settings(), source)
    analyzer.on_window = windows.append
    return list(detect(source, analyzer, lambda _block: None)), windows


def covered(windows: Sequence[Analysed]) -> list[tuple[int, int]]:
    """The stretches of sound that lie in windows: first sample, one past the last."""
    stretches: list[tuple[int, int]] = []
    for window in windows:
        start, end = window.start, window.start + window.valid
        if stretches and start <= stretches[-1][1]:
            begun, reached = stretches.pop()
            start, end = begun, max(reached, end)
        stretches.append((start, end))
    return stretches


def shifted(events: Sequence[Event], samples: int) -> list[Event]:
    return [replace(event, onset=event.onset + samples, offset=event.offset + samples) for event in events]


def test_sound_after_a_gap_is_heard_as_by_itself_at_its_own_place(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds
) -> None:
    before, after = sounds(16_000, 4.0, coughs=[3.6]), sounds(16_000, 4.0, coughs=[0.1, 2.0], seed=1)
    source = Torn([(0, before[:16_000]), (16_000, before[16_000:]), (80_000, after)])
    events, windows = hear(tiny_bundle, tiny_backend, source)
    first, _ = hear(tiny_bundle, tiny_backend, Torn([(0, before)]))
    second, _ = hear(tiny_bundle, tiny_backend, Torn([(0, after)]))
    assert [event.label for event in events] == ["cough"] * 3
    assert events == first + shifted(second, 80_000)
    assert covered(windows) == [(0, 64_000), (80_000, 144_000)]


@examples(max_examples=15, deadline=None)
@given(
    rate=st.sampled_from([16_000, 48_000, 44_100]),
    gaps=st.lists(st.integers(1, 10**12), min_size=1, max_size=3),
    sizes=st.lists(st.integers(400, 30_000), min_size=1, max_size=4),
)
def test_sound_in_any_pieces_and_any_gaps_is_the_sum_of_its_stretches(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds, rate: int, gaps: list[int], sizes: list[int]
) -> None:
    stretch = sounds(rate, 2.6, coughs=[0.4, 2.1])
    alone, alone_windows = hear(tiny_bundle, tiny_backend, Torn([(0, stretch)], rate))
    pieces, expected, starts, position, turn = [], list(alone), [0], 0, 0
    for gap in [0, *gaps]:
        position += gap
        if gap:
            # The nearest frame, by exact arithmetic.
            start = (2 * position * 16_000 + rate * FRAME) // (2 * rate * FRAME) * FRAME
            assert abs(start / 16_000 - position / rate) <= 0.005 + 1e-6
            expected += shifted(alone, start)
            starts.append(start)
        at = 0
        while at < len(stretch):
            part = stretch[at : at + sizes[turn % len(sizes)]]
            pieces.append((position + at, part))
            at, turn = at + len(part), turn + 1
        position += len(stretch)
    events, windows = hear(tiny_bundle, tiny_backend, Torn(pieces, rate))
    assert events == expected
    assert [(window.start, window.valid) for window in windows] == [
        (start + window.start, window.valid) for start in starts for window in alone_windows
    ]


def test_sound_that_jumps_back_ends_with_both_positions_after_its_events(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds
) -> None:
    sound = sounds(16_000, 4.0, coughs=[3.6])
    source = Torn([(0, sound), (16_000, sound)])
    analyzer = SourceAnalyzer(Model(tiny_bundle, tiny_backend), Settings(), source)
    events: list[Event] = []
    with pytest.raises(AudioError, match="torn: the sound jumps back from sample 64000 to 16000"):
        events.extend(detect(source, analyzer, lambda _block: None))
    assert [event.label for event in events] == ["cough"]


def test_wider_hop_analyses_every_sample_in_fewer_windows(
    tiny_bundle: Bundle, tiny_backend: Backend, sounds: Sounds
) -> None:
    sound = sounds(16_000, 24.0, coughs=[1.0, 9.0, 17.0, 22.0])
    windows: list[Analysed] = []
    source = Torn([(0, sound)])
    analyzer = SourceAnalyzer(Model(tiny_bundle, tiny_backend), Settings(), source)
    analyzer.on_window = windows.append
    events: list[Event] = []
    for at, times in ((0, 1), (8, 4), (16, 1)):
        analyzer.widen(times)
        events += analyzer.push(Block(at * 16_000, sound[at * 16_000 : (at + 8) * 16_000, None]))
    events += analyzer.flush()
    assert [event.onset / 16_000 for event in events] == pytest.approx([1.0, 9.0, 17.0, 22.0], abs=0.06)
    hops = np.diff([window.start for window in windows])
    assert set(hops.tolist()) == {8_000, 32_000}
    assert covered(windows) == [(0, 384_000)]
