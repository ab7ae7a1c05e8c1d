"""Windows lie on the hop grid, cover every sample, and do not depend on how the samples arrive."""

from __future__ import annotations

from itertools import cycle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.windows import Windower


def cut(samples, window, hop, sizes, start_index=0):
    """All windows as (start, valid, samples)."""
    windower = Windower(window, hop, start_index)
    found, at, size = [], 0, cycle(sizes)
    while at < len(samples):
        count = next(size)
        found += [(w.start, w.valid, w.samples.tolist()) for w in windower.push(samples[at : at + count])]
        at += count
    return found + [(w.start, w.valid, w.samples.tolist()) for w in windower.flush()]


def numbers(count):
    return np.arange(1, count + 1, dtype=np.float32)


@given(
    length=st.integers(0, 120),
    window=st.integers(1, 30),
    hop=st.integers(1, 30),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    start=st.sampled_from([0, 160, 2**32 - 50]),
)
def test_windows_in_any_chunking_cover_every_sample_on_the_grid(length, window, hop, sizes, start):
    hop = min(hop, window)
    samples = numbers(length)
    found = cut(samples, window, hop, sizes, start)
    assert [w[0] for w in found] == [start + k * hop for k in range(len(found))]
    padded = np.concatenate([samples, np.zeros(window, np.float32)])
    for at, valid, content in found:
        assert content == padded[at - start : at - start + window].tolist()
        assert valid == min(window, start + length - at)
    assert max((at + valid for at, valid, _ in found), default=start) == start + length
    if found and found[-1][1] < window:
        before = max((at + valid for at, valid, _ in found[:-1]), default=start)
        assert before < start + length, "the padded window adds nothing"


def test_stream_shorter_than_a_window_gives_one_padded_window():
    assert cut(numbers(3), 5, 2, [1]) == [(0, 3, [1, 2, 3, 0, 0])]


def test_stream_of_one_window_gives_no_padded_one():
    assert cut(numbers(5), 5, 2, [2]) == [(0, 5, [1, 2, 3, 4, 5])]


def test_stream_with_a_tail_gives_one_more_window():
    assert [w[:2] for w in cut(numbers(8), 5, 2, [3])] == [(0, 5), (2, 5), (4, 4)]


def test_empty_stream_gives_no_window():
    assert cut(numbers(0), 5, 2, [1]) == []


def test_hop_longer_than_the_window_refuses():
    with pytest.raises(ValueError, match="hop"):
        Windower(5, 6)
