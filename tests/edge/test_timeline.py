"""Sound that comes and goes is placed where it was recorded."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.sources import framing
from edge.sources.decoding import AuDecoder, ChildError, FramedDecoder, Sound
from edge.sources.sampleclock import SampleClock
from edge.sources.timeline import Timeline

RATE_HZ = 1000


def sound(position: int, frames: int) -> Sound:
    return Sound(position, np.full((frames, 1), 0.5, np.float32))


@given(st.lists(st.floats(0, 0.4), min_size=5, max_size=60), st.floats(0, 1e6))
def test_sample_clock_follows_the_blocks_that_came_soonest(delays, begun):
    clock = SampleClock(RATE_HZ)
    for index, delay in enumerate(delays):
        clock.note((index + 1) * 100, begun + (index + 1) * 0.1 + delay)
    now = begun + len(delays) * 0.1 + 100.0
    expected = (now - begun - min(delays)) * RATE_HZ
    # It may have crept to later times by a thousandth of what passed since the soonest.
    assert expected - 0.1 * len(delays) - 2 <= clock.due(now) <= expected + 2


def test_sample_clock_follows_a_crystal_that_is_slow_by_more_than_any_is():
    clock = SampleClock(RATE_HZ)
    for index in range(1, 36_000):
        clock.note(index * 100, index * 0.1 * 1.0005)
    assert abs(clock.due(3600 * 1.0005) - 3_600_000) < 150


def test_timeline_places_what_follows_a_restart_by_the_clock():
    timeline = Timeline(0)
    for index in range(5):
        (block,) = timeline.place(sound(index * 100, 100), RATE_HZ, 50.0 + index * 0.1)
        assert block.position == index * 100
    assert timeline.restart() == []
    (block,) = timeline.place(sound(0, 100), RATE_HZ, 60.0)
    # The first block ended at 50.0 s, so the last sample of this one is the 10 000th after it.
    assert abs(block.position - 10_000) <= 11
    assert timeline.place(sound(100, 100), RATE_HZ, 60.1)[0].position == block.position + 100


def test_timeline_never_goes_back_even_where_the_clock_says_less():
    timeline = Timeline(0)
    timeline.place(sound(0, 5000), RATE_HZ, 10.0)
    timeline.restart()
    assert timeline.place(sound(0, 100), RATE_HZ, 10.0)[0].position == 5000


def stream(layout: str) -> tuple[bytes, np.ndarray]:
    samples = np.random.default_rng(0).uniform(-1, 1, (1500, 2)).astype(np.float32)
    if layout == "au":
        header = b".snd" + b"".join(value.to_bytes(4, "big") for value in (32, 0xFFFFFFFF, 6, 44_100, 2))
        return header.ljust(32, b"\0") + samples.astype(">f4").tobytes(), samples
    parts = [framing.pack_format(channels=2, rate_hz=44_100)]
    for begin in range(0, 1500, 300):
        parts += [framing.pack_sound(position=begin, frames=300), samples[begin : begin + 300].tobytes()]
    return b"".join(parts), samples


@pytest.mark.parametrize(("layout", "decoder"), [("au", AuDecoder), ("framed", FramedDecoder)])
@given(cuts=st.lists(st.integers(0, 12_200), max_size=20))
def test_decoder_gives_the_same_samples_however_the_bytes_are_cut(layout, decoder, cuts):
    data, samples = stream(layout)
    bounds = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    decode, heard, end = decoder(), [], 0
    for begin, stop in pairwise(bounds):
        for each in decode.feed(data[begin:stop]):
            assert each.position == end
            assert not each.samples.flags.writeable
            heard.append(each.samples)
            end += len(each.samples)
    assert decode.rate_hz == 44_100
    assert np.array_equal(np.concatenate(heard), samples)


@pytest.mark.parametrize("decoder", [AuDecoder, FramedDecoder])
@given(data=st.binary(min_size=32, max_size=200))
def test_decoder_refuses_what_is_no_sound(decoder, data):
    with pytest.raises(ChildError):
        list(decoder().feed(data))


@pytest.mark.parametrize("rate_hz", [RATE_HZ, 3 * RATE_HZ])
def test_timeline_keeps_the_length_of_a_gap_at_either_rate_and_all_sound_before_it(rate_hz):
    timeline = Timeline(0)
    timeline.place(sound(0, 10), RATE_HZ)
    timeline.restart()
    factor = rate_hz // RATE_HZ
    blocks = timeline.place(sound(0, 6000 * factor), rate_hz)
    blocks += timeline.place(sound(8000 * factor, 5000 * factor), rate_hz)
    blocks += timeline.restart()
    covered = np.zeros(13_010, int)
    for block in blocks:
        covered[block.position : block.position + len(block.samples)] += 1
        assert block.position + len(block.samples) <= len(covered) + 1
    assert covered.max() == 1
    assert np.flatnonzero(covered == 0).tolist() == [*range(10), *range(6010, 8010)]
