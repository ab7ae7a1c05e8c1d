from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.backlog import Backlog
from edge.sources.base import Block
from tests.brokers import eventually

RATE_HZ = 1_000


def block(position: int, frames: int = 500) -> Block:
    return Block(position, np.zeros((frames, 1), np.float32))


def positions(backlog: Backlog) -> list[int]:
    backlog.end()
    taken = []
    while (item := backlog.take()) is not None:
        taken.append(item.position)
    return taken


def test_full_backlog_of_a_live_source_drops_its_oldest_half_once() -> None:
    backlog = Backlog(may_drop=True, capacity_s=10.0)
    for number in range(21):
        backlog.put(block(500 * number), RATE_HZ)
    assert (backlog.waiting_s, backlog.dropped_s) == (5.0, 5.5)
    assert positions(backlog) == list(range(5_500, 10_500, 500))


@given(st.lists(st.integers(1, 4_000), max_size=60))
def test_backlog_hands_out_or_counts_every_block_and_the_newest_is_kept(lengths: list[int]) -> None:
    backlog = Backlog(may_drop=True, capacity_s=5.0)
    position = 0
    for frames in lengths:
        backlog.put(block(position, frames), RATE_HZ)
        assert backlog.waiting_s <= 5.0 + 1e-9
        position += frames
    dropped = round(backlog.dropped_s * RATE_HZ)
    taken = positions(backlog)
    starts = np.cumsum([0, *lengths])[:-1].tolist()
    assert taken == [start for start in starts if start >= dropped]


def test_source_that_can_wait_waits_and_loses_nothing() -> None:
    backlog = Backlog(may_drop=False, capacity_s=2.0)

    def put_all() -> None:
        for number in range(40):
            backlog.put(block(500 * number), RATE_HZ)
        backlog.end()

    putting = threading.Thread(target=put_all, daemon=True)
    putting.start()
    eventually(lambda: backlog.waiting_s == 2.0, "a full backlog")
    taken = []
    while (item := backlog.take()) is not None:
        assert backlog.waiting_s <= 2.0
        taken.append(item.position)
    assert taken == [500 * number for number in range(40)]
    assert backlog.dropped_s == 0.0


def test_block_longer_than_the_backlog_is_taken() -> None:
    for may_drop in (False, True):
        backlog = Backlog(may_drop=may_drop, capacity_s=1.0)
        backlog.put(block(0, 5_000), RATE_HZ)
        assert positions(backlog) == [0]
