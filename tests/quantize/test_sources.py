"""Figures by source, against counting pairs by hand."""

from __future__ import annotations

import numpy as np
import pytest

from align.statistics import Interval
from quantize.sources import Asked, SourceAccuracy, by_source, cells

# Source a has both kinds, b the label only, c no recording with it; of one recording of a the answer is not known.
SOURCES = ["a", "a", "a", "a", "b", "b", "c", "c"]
HOLDS = [(True,), (True,), (False,), (None,), (True,), (True,), (False,), (False,)]
SCORES = np.array([[0.9], [0.3], [0.4], [1.0], [0.8], [0.2], [0.5], [0.1]])


def _told(sources: list[str] = SOURCES, repeat: int = 1) -> dict[str, SourceAccuracy]:
    asked = Asked(sources * repeat, [f"p{number}" for number in range(len(sources) * repeat)], HOLDS * repeat)
    return {one.source: one for one in by_source(["cough"], asked, np.tile(SCORES, (repeat, 1)), rounds=200)}


def test_each_source_is_asked_three_ways() -> None:
    found = _told()
    # 0.9 is above 0.4 and 0.3 is not: one of two pairs. Against 0.4, 0.5 and 0.1: four of six.
    assert found["a"] == SourceAccuracy("cough", "a", 2, 1, 0.5, pytest.approx(4 / 6), 0.5)
    assert found["b"] == SourceAccuracy("cough", "b", 2, 0, None, pytest.approx(4 / 6), None)
    # 0.9, 0.8, 0.3 and 0.2 against 0.5 and 0.1: six of eight.
    assert found["c"] == SourceAccuracy("cough", "c", 0, 2, None, None, pytest.approx(6 / 8))


def test_enough_people_on_both_sides_give_an_interval() -> None:
    within = _told(repeat=5)["a"].within
    assert isinstance(within, Interval)
    assert within.low < within.value == 0.5 < within.high
    assert isinstance(_told(repeat=4)["a"].within, float)


def test_a_channel_that_gives_the_answer_away_shows_within_a_source_only() -> None:
    rng = np.random.default_rng(0)
    # A detector that knows the source and nothing else, and a label that is nearly always of source a.
    sources = ["a"] * 60 + ["b"] * 60
    holds = [(place < 50,) for place in range(60)] + [(place < 10,) for place in range(60)]
    scores = np.array([1.0] * 60 + [0.0] * 60)[:, None] + 0.01 * rng.standard_normal((120, 1))
    asked = Asked(sources, [f"p{number}" for number in range(120)], holds)
    first, second = by_source(["cough"], asked, scores, rounds=200)
    assert isinstance(first.with_label, Interval)
    assert first.with_label.value > 0.9
    for one in (first, second):
        assert isinstance(one.within, Interval)
        assert one.within.low < 0.5 < one.within.high


def test_rows_of_a_table_leave_out_what_cannot_be_asked() -> None:
    rows = cells(tuple(_told().values()))
    assert rows[1] == ("cough", "b", "2", "0", "", "0.667", "")
