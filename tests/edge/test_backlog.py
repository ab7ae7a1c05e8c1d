from __future__ import annotations

import threading

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge.backlog import CAPACITY_S, LIVE_CAPACITY_S, LONGEST_WAIT_S, Backlog
from edge.sources.base import Block
from tests.brokers import eventually

RATE_HZ = 1_000


def block(position: int, frames: int = 500) -> Block:
    return Block(position, np.zeros((frames, 1), np.float32))


def positions(backlog: Backlog) -> list[int]:
    backlog.end()
    taken = []
    while (arrival := backlog.take()) is not None:
        taken.append(arrival.block.position)
    return taken


def test_live_sound_that_has_waited_too_long_is_dropped_in_one_piece() -> None:
    backlog = Backlog(may_drop=True)
    for number in range(22):
        backlog.put(block(500 * number), RATE_HZ, at_s=0.5 * number)
    # The oldest had waited 10.5 s when the last one came; what is left has waited 5 s at most.
    assert backlog.dropped_s == 5.5
    assert backlog.oldest_at_s == 5.5
    assert positions(backlog) == list(range(5_500, 11_000, 500))


def test_live_sound_that_comes_all_at_once_is_not_behind() -> None:
    backlog = Backlog(may_drop=True)
    for number in range(120):
        backlog.put(block(500 * number), RATE_HZ, at_s=7.0)
    assert (backlog.waiting_s, backlog.dropped_s, backlog.oldest_at_s) == (60.0, 0.0, 7.0)
    for number in range(120, 161):
        backlog.put(block(500 * number), RATE_HZ, at_s=7.0)
    # More than it may hold goes in one piece, too.
    assert (backlog.waiting_s, backlog.dropped_s) == (40.0, 40.5)


@given(st.lists(st.tuples(st.integers(1, 40_000), st.floats(0.0, 20.0)), max_size=60))
def test_backlog_hands_out_or_counts_every_block_and_the_newest_is_kept(arrivals: list[tuple[int, float]]) -> None:
    backlog = Backlog(may_drop=True)
    position, now_s = 0, 0.0
    for frames, pause_s in arrivals:
        now_s += pause_s
        backlog.put(block(position, frames), RATE_HZ, at_s=now_s)
        assert backlog.waiting_s <= LIVE_CAPACITY_S + 1e-6
        assert now_s - (backlog.oldest_at_s or 0.0) <= LONGEST_WAIT_S
        position += frames
    dropped = round(backlog.dropped_s * RATE_HZ)
    starts = np.cumsum([0, *(frames for frames, _ in arrivals)])[:-1].tolist()
    assert positions(backlog) == [start for start in starts if start >= dropped]
    assert backlog.waiting_s == 0.0


def test_source_that_can_wait_waits_and_loses_nothing() -> None:
    backlog = Backlog(may_drop=False)

    def put_all() -> None:
        for number in range(60):
            backlog.put(block(500 * number), RATE_HZ, at_s=100.0 * number)
        backlog.end()

    putting = threading.Thread(target=put_all, daemon=True)
    putting.start()
    eventually(lambda: backlog.waiting_s == CAPACITY_S, "a full backlog")
    taken = []
    while (arrival := backlog.take()) is not None:
        assert backlog.waiting_s <= CAPACITY_S
        taken.append(arrival.block.position)
    assert taken == [500 * number for number in range(60)]
    assert (backlog.dropped_s, backlog.oldest_at_s) == (0.0, None)


def test_block_longer_than_the_backlog_is_taken() -> None:
    for may_drop in (False, True):
        backlog = Backlog(may_drop=may_drop)
        backlog.put(block(0, 100_000), RATE_HZ, at_s=0.0)
        assert positions(backlog) == [0]
