"""The minute's books: every second of a run is either monitored or gap, every event is in the minute of its onset."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge import clock
from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.clock import Reading, parse_rfc3339
from edge.config import Settings
from edge.corrections import Corrections
from edge.hooks import Hooks
from edge.journal import Journal
from edge.listener import Listener, Pace
from edge.minute import PATIENCE_S, Minutes
from edge.outbox import Outbox
from edge.payloads import Origin
from edge.pipeline import Model
from edge.sources.base import Block
from edge.untimed import UntimedFile
from tests.wards import Fed

Sounds = Callable[..., NDArray[np.float32]]

RATE_HZ = 16_000
START = datetime(2026, 11, 23, 22, 0, 20, tzinfo=timezone.utc)
"""Monotonic time 0: the first whole minute begins at 40."""


class Desk:
    """A listener whose sound, clock and analysis a test turns by hand, and its minutes."""

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        outbox: Outbox,
        monkeypatch: pytest.MonkeyPatch,
        *,
        pace: Pace = "live",
        synchronised: bool = True,
    ) -> None:
        self.utc_at_0, self.synchronised, self.now_s = START, synchronised, 0.0
        monkeypatch.setattr(clock, "read", self.read)
        monkeypatch.setattr("edge.listener.time.monotonic", lambda: self.now_s)
        self.outbox, self.hooks = outbox, Hooks()
        self.corrections = Corrections(outbox, UntimedFile(outbox.path.with_name("untimed.jsonl")))
        origin = Origin("boot", "1", "tiny-1.2.3", "")
        parts: dict[str, Any] = {"corrections": self.corrections, "hooks": self.hooks}
        self.minutes = Minutes(origin, "acula", outbox, **parts)
        journal = Journal(origin, "acula", outbox, **parts, notify=lambda: None)
        model = Model(bundle, backend)
        self.listener = Listener(
            "bed-12", Fed("bed-12"), model, Settings(), pace=pace, keep=journal.keep, hooks=self.hooks
        )
        self.is_done = False
        monkeypatch.setattr(Listener, "is_done", property(lambda _listener: self.is_done))
        self.minutes.watch(self.listener)

    def read(self) -> Reading:
        return Reading(self.utc_at_0 + timedelta(seconds=self.now_s), self.now_s, self.synchronised)

    def hear(self, sound: NDArray[np.float32], at_s: float, block_s: float = 0.5) -> None:
        """Sound that was recorded from `at_s` on, in blocks, each as it arrives."""
        position, frames = round(at_s * RATE_HZ), round(block_s * RATE_HZ)
        for at in range(0, len(sound), frames):
            block = Block(position + at, sound[at : at + frames, None])
            end = block.position + len(block.samples)
            self.now_s = max(self.now_s, end / RATE_HZ)
            if self.listener.pace != "fast":
                # As sources place it: sample 0 at the start of the run.
                self.listener.card.note(end / RATE_HZ, end / RATE_HZ, after_gap=True)
            self.hooks.block(self.listener, block)
            self.listener._keep_all(self.listener.analyzer.push(block))
            self.listener.settled_s = self.listener.recorded_s(self.listener.analyzer.settled)

    def wait_until(self, now_s: float) -> None:
        """Time passes without sound, and the minutes have their turn every second."""
        while self.now_s < now_s:
            self.now_s = min(now_s, self.now_s + 1.0)
            self.turn()

    def turn(self) -> None:
        self.minutes.turn(self.read())

    def end(self) -> None:
        self.listener._finish_stretch()
        self.is_done = True
        self.turn()
        self.turn()

    def reports(self) -> list[dict[str, Any]]:
        rows = [row for row in self.outbox.pending(10_000) if row.topic == "acula/minute"]
        return [json.loads(row.payload) for row in rows]


@pytest.fixture
def desk(tiny_bundle: Bundle, tiny_backend: Backend, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(tiny_bundle, tiny_backend, outbox, monkeypatch)


def test_minutes_are_those_of_utc_and_events_are_counted_where_they_begin(desk: Desk, sounds: Sounds) -> None:
    # A cough that begins 0.1 s before the minute ends, and is known after that.
    desk.hear(sounds(RATE_HZ, 40.25, coughs=[5.0, 39.9]), at_s=0.0)
    desk.turn()
    assert desk.reports() == []
    desk.hear(sounds(RATE_HZ, 62.75, coughs=[9.0], breaths=[30.0, 40.0], seed=1), at_s=40.25)
    desk.turn()
    assert len(desk.reports()) == 2
    desk.end()
    first, second, last = desk.reports()
    assert [report["start"] for report in (first, second, last)] == [
        *("2026-11-23T22:00:20.000Z", "2026-11-23T22:01:00.000Z", "2026-11-23T22:02:00.000Z"),
    ]
    assert [report["duration_s"] for report in (first, second, last)] == [40.0, 60.0, 3.0]
    assert (first["counts"], second["counts"]) == ({"cough": 2, "breath": 0}, {"cough": 1, "breath": 2})
    assert [report["monitored_s"] for report in (first, second, last)] == [40.0, 60.0, 3.0]
    assert second["per_hour"] == {"cough": 60.0, "breath": 120.0}
    assert second["level_dbfs"] == pytest.approx(-40, abs=5)
    assert second["noise_floor_dbfs"] == pytest.approx(-60, abs=1)
    assert (second["clipped"], second["gap_s"], second["lag_s"], second["clock"]) == (0.0, 0.0, 0.0, "synced")


def test_report_has_exactly_the_fields_of_the_contract(desk: Desk, sounds: Sounds) -> None:
    desk.minutes.respiration = lambda name: {"rate_bpm": 15.0, "quality": 0.8, "of": name}
    desk.hear(sounds(RATE_HZ, 3.0), at_s=0.0)
    desk.end()
    (report,) = desk.reports()
    (row,) = desk.outbox.pending(10)
    assert row.event_id == report.pop("minute_id")
    assert row.telemetry
    assert desk.corrections.turn(desk.read()) == 0
    assert report.pop("level_dbfs") == pytest.approx(-60, abs=1)
    assert report.pop("noise_floor_dbfs") == pytest.approx(-60, abs=1)
    assert report == {
        "schema": 1,
        "boot_id": "boot",
        "source": "bed-12",
        "bundle": "tiny-1.2.3",
        "start": "2026-11-23T22:00:20.000Z",
        "duration_s": 3.0,
        "counts": {"cough": 0, "breath": 0},
        "per_hour": {"cough": 0.0, "breath": 0.0},
        "monitored_s": 3.0,
        "gap_s": 0.0,
        "clipped": 0.0,
        "lag_s": 0.0,
        "card_drift_ppm": None,
        "respiration": {"rate_bpm": 15.0, "quality": 0.8, "of": "bed-12"},
        "drift": None,
        "clock": "synced",
        "historical": False,
    }


def test_source_that_is_absent_has_minutes_of_nothing_but_gap(desk: Desk, sounds: Sounds) -> None:
    desk.hear(sounds(RATE_HZ, 10.0, coughs=[5.0]), at_s=0.0)
    desk.wait_until(160.0 + PATIENCE_S + 1.0)
    assert len(desk.reports()) == 3  # to 40, 100 and 160 s; the fourth may still get an event
    desk.hear(sounds(RATE_HZ, 20.0, coughs=[5.0]), at_s=236.0)
    desk.end()
    reports = desk.reports()
    assert [report["monitored_s"] for report in reports] == [10.0, 0.0, 0.0, 0.0, 20.0]
    assert [report["gap_s"] for report in reports] == [30.0, 60.0, 60.0, 60.0, 16.0]
    assert [report["counts"]["cough"] for report in reports] == [1, 0, 0, 0, 1]
    assert [report["per_hour"]["cough"] for report in reports] == [360.0, None, None, None, 180.0]
    assert [report["level_dbfs"] is None for report in reports] == [False, True, True, True, False]


def test_live_source_that_never_came_is_gap_from_the_start(desk: Desk) -> None:
    desk.wait_until(40.0 + PATIENCE_S + 1.0)
    assert [(report["monitored_s"], report["gap_s"]) for report in desk.reports()] == [(0.0, 40.0)]


@pytest.mark.parametrize("took_s", [1.0, 500.0])
def test_recording_that_is_read_fast_or_slowly_has_its_own_time_and_no_gap(
    tiny_bundle: Bundle,
    tiny_backend: Backend,
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
    sounds: Sounds,
    took_s: float,
) -> None:
    desk = Desk(tiny_bundle, tiny_backend, outbox, monkeypatch, pace="fast")
    desk.hear(sounds(RATE_HZ, 110.0, coughs=[41.0]), at_s=0.0)
    desk.now_s = took_s
    desk.end()
    assert [report["duration_s"] for report in desk.reports()] == [40.0, 60.0, 10.0]
    assert [report["gap_s"] for report in desk.reports()] == [0.0, 0.0, 0.0]
    assert [report["counts"]["cough"] for report in desk.reports()] == [0, 1, 0]


def test_run_that_ends_with_a_minute_has_no_report_of_nothing(desk: Desk) -> None:
    desk.hear(np.zeros(100 * RATE_HZ, np.float32), at_s=0.0)
    desk.end()
    assert [report["duration_s"] for report in desk.reports()] == [40.0, 60.0]


def test_run_that_begins_just_before_a_minute_has_no_report_of_that_moment(desk: Desk) -> None:
    desk.utc_at_0 = START.replace(second=59, microsecond=999_700)
    desk.minutes.watch(desk.listener)
    desk.hear(np.zeros(10 * RATE_HZ, np.float32), at_s=0.0)
    desk.end()
    assert [report["duration_s"] for report in desk.reports()] == [10.0]


def test_report_tells_how_far_the_analysis_was_behind_at_worst(desk: Desk) -> None:
    desk.hear(np.zeros(RATE_HZ, np.float32), at_s=0.0)
    desk.listener.backlog.put(Block(RATE_HZ, np.zeros((RATE_HZ, 1), np.float32)), RATE_HZ, desk.now_s)
    for lag_s in (4.0, 7.0):
        desk.now_s = 1.0 + lag_s
        desk.turn()
    desk.listener.backlog.take()
    desk.turn()
    desk.end()
    assert [report["lag_s"] for report in desk.reports()] == [7.0]


def test_clock_that_is_set_begins_its_own_minutes_and_loses_no_second(desk: Desk, sounds: Sounds) -> None:
    desk.hear(sounds(RATE_HZ, 10.0, coughs=[5.0]), at_s=0.0)
    desk.utc_at_0 += timedelta(hours=1, seconds=15)  # 10 s into the run it is now 23:00:45
    desk.hear(sounds(RATE_HZ, 40.0, coughs=[5.0, 30.0]), at_s=10.0)
    desk.end()
    reports = desk.reports()
    starts = [parse_rfc3339(report["start"]) for report in reports]
    assert [start.strftime("%H:%M:%S") for start in starts] == ["23:00:35", "23:01:00"]
    assert [report["monitored_s"] for report in reports] == [25.0, 25.0]
    assert [report["counts"]["cough"] for report in reports] == [2, 1]


@pytest.mark.parametrize("step_s", [-3600.0, -30.5, 5.0, 35.0, 3615.0])
def test_no_minute_is_shorter_than_what_was_heard_of_it_whenever_the_clock_is_set(desk: Desk, step_s: float) -> None:
    desk.hear(np.zeros(10 * RATE_HZ, np.float32), at_s=0.0)
    desk.utc_at_0 += timedelta(seconds=step_s)
    desk.hear(np.zeros(100 * RATE_HZ, np.float32), at_s=10.0)
    desk.end()
    assert sum(report["duration_s"] for report in desk.reports()) == pytest.approx(110.0)
    assert [report["gap_s"] for report in desk.reports()] == [0.0] * len(desk.reports())


def test_report_of_an_unset_clock_is_revised_once_it_is_set(
    tiny_bundle: Bundle, tiny_backend: Backend, outbox: Outbox, monkeypatch: pytest.MonkeyPatch, sounds: Sounds
) -> None:
    desk = Desk(tiny_bundle, tiny_backend, outbox, monkeypatch, synchronised=False)
    desk.hear(sounds(RATE_HZ, 45.0), at_s=0.0)
    desk.turn()
    (report,) = desk.reports()
    assert report["clock"] == "unsynced"
    desk.utc_at_0 += timedelta(days=1000)
    desk.synchronised = True
    assert desk.corrections.turn(desk.read()) == 1
    (revised,) = desk.reports()
    corrected = {"start": "2029-08-19T22:00:20.000Z", "clock": "synced", "historical": True, "revision": 1}
    assert revised == {**report, **corrected}


@examples(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    stretches=st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.1, 70.0)), min_size=1, max_size=5),
    block_s=st.floats(0.05, 7.0),
    begun_us=st.integers(0, 59_999_999),
)
def test_every_second_of_a_run_is_monitored_or_gap_once(
    tiny_bundle: Bundle,
    tiny_backend: Backend,
    outbox: Outbox,
    monkeypatch: pytest.MonkeyPatch,
    stretches: list[tuple[float, float]],
    block_s: float,
    begun_us: int,
) -> None:
    outbox.delete([row.event_id for row in outbox.pending(10_000)])
    desk = Desk(tiny_bundle, tiny_backend, outbox, monkeypatch)
    desk.utc_at_0 = START.replace(second=0) + timedelta(microseconds=begun_us)
    desk.minutes.watch(desk.listener)
    heard_s = 0.0
    for pause_s, length_s in stretches:
        desk.wait_until(desk.now_s + pause_s)
        sound = np.zeros(round(length_s * RATE_HZ), np.float32)
        desk.hear(sound, at_s=desk.now_s, block_s=block_s)
        heard_s += len(sound) / RATE_HZ
        desk.turn()
    desk.end()
    reports = desk.reports()
    assert sum(report["monitored_s"] for report in reports) == pytest.approx(heard_s, abs=0.01)
    assert sum(report["monitored_s"] + report["gap_s"] for report in reports) == pytest.approx(desk.now_s, abs=0.01)
    ends = [parse_rfc3339(report["start"]) + timedelta(seconds=report["duration_s"]) for report in reports]
    for end, following in zip(ends, reports[1:], strict=False):
        assert abs(end - parse_rfc3339(following["start"])) <= timedelta(milliseconds=2)
        assert following["start"].endswith(":00.000Z")
