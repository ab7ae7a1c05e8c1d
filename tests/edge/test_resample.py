"""Streaming conversion to mono at one rate: exact under any chunking, on time, complete."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.resample import QUALITY, StreamResampler

CHUNKS = st.lists(st.integers(1, 5000), min_size=1, max_size=8)


def convert(samples, rate, sizes, output=16_000):
    resampler = StreamResampler(rate, output, samples.shape[1])
    parts, at, size = [], 0, cycle(sizes)
    while at < len(samples):
        count = next(size)
        parts.append(resampler.push(samples[at : at + count]).copy())
        at += count
    return np.concatenate([*parts, resampler.flush()])


def noise(frames, channels, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (frames, channels)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(
    rate=st.sampled_from([48_000, 44_100, 96_000, 16_000, 8_000, 1_000]),
    channels=st.sampled_from([1, 2, 3, 8, 9, 17]),
    frames=st.integers(0, 30_000),
    sizes=CHUNKS,
)
def test_push_in_any_chunking_gives_the_same_samples_as_the_whole(rate, channels, frames, sizes):
    samples = noise(frames, channels)
    assert convert(samples, rate, sizes).tobytes() == convert(samples, rate, [max(1, frames)]).tobytes()


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000, 96_000])
def test_push_one_frame_at_a_time_gives_what_soxr_gives_at_once(rate):
    samples = noise(3000, 1)
    whole = soxr.resample(samples[:, 0], rate, 16_000, quality=QUALITY)
    assert np.array_equal(convert(samples, rate, [1]), whole)


@pytest.mark.parametrize("rate", [48_000, 44_100, 8_000])
def test_push_keeps_time_and_length(rate):
    samples = np.zeros((2 * rate, 1), np.float32)
    samples[rate] = 1
    resampled = convert(samples, rate, [1000])
    assert len(resampled) == 32_000
    assert int(np.argmax(resampled)) == 16_000


def test_push_of_channels_gives_their_mean():
    samples = noise(100, 8)
    assert convert(samples, 16_000, [7]) == pytest.approx(samples.mean(axis=1), abs=1e-6)


def test_push_of_another_channel_count_refuses():
    with pytest.raises(ValueError, match=r"\(frames, 2\)"):
        StreamResampler(16_000, 16_000, 2).push(noise(10, 1))


def test_flush_without_input_is_empty():
    assert StreamResampler(48_000, 16_000, 1).flush().size == 0
