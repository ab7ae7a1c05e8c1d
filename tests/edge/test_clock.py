from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.clock import Anchor, parse_rfc3339, rfc3339
from edge.errors import ConfigError

START = datetime(2026, 11, 23, 22, 38, 22, 123000, tzinfo=timezone.utc)


def test_anchor_gives_utc_before_at_and_after_its_index() -> None:
    anchor = Anchor(START, 32_000, 16_000, True)
    assert anchor.at(32_000) == START
    assert anchor.at(40_000) == START + timedelta(seconds=0.5)
    assert anchor.at(0) == START - timedelta(seconds=2)


def test_anchor_is_exact_after_years_of_samples() -> None:
    seconds = 10 * 365 * 86_400
    assert Anchor(START, 0, 44_100, True).at(seconds * 44_100) == START + timedelta(seconds=seconds)


@given(index=st.integers(-(2**53), 2**53), rate=st.sampled_from([4_000, 16_000, 44_100]))
def test_anchor_never_runs_backwards(index: int, rate: int) -> None:
    anchor = Anchor(datetime(1990, 1, 1, tzinfo=timezone.utc), index, rate, True)
    assert anchor.at(index) <= anchor.at(index + 1)
    assert anchor.at(index + rate) - anchor.at(index) == timedelta(seconds=1)


def test_rfc3339_is_utc_with_milliseconds() -> None:
    assert rfc3339(START) == "2026-11-23T22:38:22.123Z"
    assert rfc3339(START.astimezone(timezone(timedelta(hours=5, minutes=30)))) == "2026-11-23T22:38:22.123Z"
    assert rfc3339(START.replace(microsecond=0)) == "2026-11-23T22:38:22.000Z"


@pytest.mark.parametrize("text", ["2026-11-23T22:38:22.123Z", "2026-11-24T00:38:22.123+02:00"])
def test_parse_reads_any_zone(text: str) -> None:
    assert parse_rfc3339(text) == START


@pytest.mark.parametrize(("text", "named"), [("yesterday", "not a time"), ("2026-11-23T22:38:22", "no time zone")])
def test_parse_refuses_what_is_no_instant(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_rfc3339(text)
