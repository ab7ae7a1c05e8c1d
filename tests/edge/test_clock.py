from __future__ import annotations

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import clock
from edge.clock import Anchor, Reading, StepWatch, parse_rfc3339, rfc3339
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


@pytest.mark.parametrize(
    "text", ["2026-11-23T22:38:22.123Z", "2026-11-24T00:38:22.123+02:00", " 2026-11-23T22:38:22.123z\n"]
)
def test_parse_reads_any_zone(text: str) -> None:
    assert parse_rfc3339(text) == START


@pytest.mark.parametrize(("text", "named"), [("yesterday", "not a time"), ("2026-11-23T22:38:22", "no time zone")])
def test_parse_refuses_what_is_no_instant(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        parse_rfc3339(text)


def reading(monotonic_s: float, offset_s: float = 0.0, synchronised: bool = True) -> Reading:
    return Reading(START + timedelta(seconds=monotonic_s + offset_s), monotonic_s, synchronised)


def test_reading_gives_utc_of_times_before_and_after_it() -> None:
    assert reading(100.0).at(100.0) == reading(100.0).utc
    assert reading(100.0).at(40.5) == START + timedelta(seconds=40.5)
    # Boot without a real-time clock: what was heard before the clock was set gets its true time afterwards.
    assert reading(100.0, offset_s=1e9).at(40.5) == START + timedelta(seconds=40.5 + 1e9)


@pytest.mark.parametrize(("answer", "is_set"), [(0, True), (4, True), (5, False), (-1, False)])
def test_clock_is_set_unless_the_kernel_says_or_hides_that_it_is_not(
    monkeypatch: pytest.MonkeyPatch, answer: int, is_set: bool
) -> None:
    """As adjtimex(2) has it: 5 is TIME_ERROR, -1 an error of the call, as in a container that may not ask."""
    monkeypatch.setattr(clock, "_libc", lambda: SimpleNamespace(adjtimex=lambda _timex: answer))
    assert clock.is_synchronised() is is_set


def test_libc_that_cannot_be_asked_counts_as_a_clock_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_libc", SimpleNamespace)
    assert not clock.is_synchronised()


def test_real_clocks_agree_with_each_other() -> None:
    now = clock.read()
    assert abs((now.utc - clock.utc_now()).total_seconds()) < 60
    assert StepWatch(now).step_s(now) == 0.0


def test_time_from_before_the_clock_was_set_never_counts_as_true(monkeypatch: pytest.MonkeyPatch) -> None:
    is_set = False

    def set_right_after_reading() -> datetime:
        nonlocal is_set
        is_set = True
        return datetime(1970, 1, 1, tzinfo=timezone.utc)

    monkeypatch.setattr(clock, "utc_now", set_right_after_reading)
    monkeypatch.setattr(clock, "is_synchronised", lambda: is_set)
    assert not clock.read().synchronised


def test_reading_that_was_held_up_between_the_clocks_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # Seconds; another thread runs for three of them after the time of day has been read.
    monotonic, utc = iter([10.0, 13.0, 13.0, 13.0005]), iter([START, START + timedelta(seconds=3)])
    monkeypatch.setattr(clock, "time", SimpleNamespace(monotonic=lambda: next(monotonic)))
    monkeypatch.setattr(clock, "utc_now", lambda: next(utc))
    now = clock.read()
    assert (now.utc, now.monotonic_s) == (START + timedelta(seconds=3), pytest.approx(13.0, abs=0.001))


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 1e9, 0.6, -0.6])
def test_clock_that_is_set_is_noticed_once(step_s: float) -> None:
    watch = StepWatch(reading(10.0))
    assert watch.step_s(reading(11.0)) == 0.0
    assert watch.step_s(reading(12.0, step_s)) == pytest.approx(step_s)
    assert watch.step_s(reading(13.0, step_s)) == 0.0


def test_clock_that_is_slewed_is_no_step() -> None:
    watch = StepWatch(reading(0.0))
    assert all(watch.step_s(reading(float(second), 5e-4 * second)) == 0.0 for second in range(1, 2_000))
