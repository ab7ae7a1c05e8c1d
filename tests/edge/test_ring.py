"""The ring gives any of its newest samples by absolute index, as one view."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.ring import MirroredRing


@given(
    capacity=st.integers(1, 40),
    start=st.sampled_from([0, 7, 2**31 - 20, 2**53 + 1]),
    sizes=st.lists(st.integers(0, 90), max_size=12),
    data=st.data(),
)
def test_view_after_any_appends_gives_the_samples_at_their_index(capacity, start, sizes, data):
    ring = MirroredRing(capacity, start)
    for size in sizes:
        ring.append((np.arange(ring.end - start, ring.end - start + size)).astype(np.float32))
    assert ring.end == start + sum(sizes)
    assert ring.start == max(start, ring.end - capacity)
    first = data.draw(st.integers(ring.start, ring.end))
    last = data.draw(st.integers(first, ring.end))
    assert ring.view(first, last).tolist() == list(range(first - start, last - start))


def test_view_is_contiguous_and_read_only_where_it_crosses_the_end_of_the_buffer():
    ring = MirroredRing(4)
    ring.append(np.arange(6, dtype=np.float32))
    view = ring.view(2, 6)
    assert view.flags.c_contiguous
    assert np.shares_memory(view, ring.view(3, 5))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1


@pytest.mark.parametrize(("start", "stop"), [(1, 4), (3, 7), (5, 4), (-1, 3)])
def test_view_of_samples_not_held_raises(start, stop):
    ring = MirroredRing(4)
    ring.append(np.arange(6, dtype=np.float32))
    with pytest.raises(IndexError, match=r"only 2\.\.6"):
        ring.view(start, stop)


def test_ring_without_capacity_refuses():
    with pytest.raises(ValueError, match="capacity"):
        MirroredRing(0)
