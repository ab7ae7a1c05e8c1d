"""What the page's board keeps, counts and serves, without a daemon."""

from __future__ import annotations

import http.client
from collections import Counter
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bench.mosquitto import free_port
from edge import clock
from edge.dashboard.board import MOST_EVENTS, SPAN_S, STRETCH_S, Board, highest
from edge.dashboard.server import serve
from edge.events import Event
from edge.hooks import Hooks
from edge.manifest import FrontEnd
from edge.sections import DashboardSettings
from edge.track import TrackChunk
from tests.brokers import PATIENCE_S


class Ear:
    """What the board looks at of a listener: sound of which each sample was recorded at its place, in seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = self.bundle = self.manifest = self
        self.front_end = FrontEnd()

    def recorded_s(self, index: int) -> float:
        return index / self.front_end.sample_rate_hz

    def anchor(self, index: int, now: clock.Reading) -> clock.Anchor:
        return clock.Anchor(now.at(self.recorded_s(index)), index, self.front_end.sample_rate_hz, True)


def test_defect_in_the_status_is_told_once_and_sound_goes_on():
    def status() -> dict[str, Any]:
        raise RuntimeError("a defect")

    hooks = Hooks()
    board, ear, port = Board(hooks), Ear("a"), free_port()
    hooks.scores(ear, TrackChunk(0, np.full((50, 2), 0.5, np.float32)))  # type: ignore[arg-type]
    with capture_logs() as logged:
        end = serve(DashboardSettings(port=port), board, status, ["a"])
        for _ in range(3):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)) as connection:
                connection.request("GET", "/stream")
                with connection.getresponse() as page:
                    assert page.readline() == b"event: sound\n"
        end()
    assert [(line["event"], line["part"]) for line in logged if line["log_level"] == "error"] == [
        ("dashboard_failed", "status")
    ]


def test_board_keeps_a_minute_a_hundred_events_and_a_day():
    hooks = Hooks()
    board, ear, other = Board(hooks), Ear("a"), Ear("b")
    scores = np.full((50, 2), 0.5, np.float32)
    for number in range(400):
        hooks.scores(ear, TrackChunk(50 * number, scores))  # type: ignore[arg-type]
    hooks.scores(other, TrackChunk(0, scores))  # type: ignore[arg-type]
    sound = board.since(0, "a")
    assert sum(message.content["duration_s"] for message in sound) == pytest.approx(SPAN_S, abs=0.51)
    assert len(board.since(0, "b")) == 1
    assert board.since(0, "nobody") == []
    assert board.since(sound[-1].number, "a") == []

    hour = 16_000 * 3600
    for number in range(150):
        event = Event("cough", number * hour // 4, number * hour // 4 + 1600, 0.9)
        hooks.event(ear, event, {"number": number})  # type: ignore[arg-type]
    events = [message.content["number"] for message in board.since(0, "b") if message.kind == "event"]
    assert events == list(range(150))[-MOST_EVENTS:]
    day = board.day(clock.read())
    assert len(day) == 24 * 4
    assert sum(stretch["counts"]["cough"] for stretch in day) == 24 * 4
    assert not hooks.trouble


def test_events_of_the_last_minute_are_shown_whatever_other_sources_hear():
    hooks = Hooks()
    board, ear, other = Board(hooks), Ear("a"), Ear("b")
    scores = np.full((50, 2), 0.5, np.float32)
    hooks.scores(ear, TrackChunk(0, scores))  # type: ignore[arg-type]
    hooks.event(ear, Event("cough", 0, 1600, 0.9), {"source": "a"})  # type: ignore[arg-type]
    for number in range(2 * MOST_EVENTS):
        hooks.event(other, Event("cough", 100 * number, 100 * number + 1600, 0.9), {"source": "b"})  # type: ignore[arg-type]
    told = board.since(0, "a")
    assert [message.number for message in told] == [1, 2, *range(3 + MOST_EVENTS, 3 + 2 * MOST_EVENTS)]
    assert told[1].content == {"source": "a"}
    for number in range(1, 130):
        hooks.scores(ear, TrackChunk(50 * number, scores))  # type: ignore[arg-type]
    assert {"source": "a"} not in [message.content for message in board.since(0, "a")]
    assert not hooks.trouble


def test_counts_stay_where_they_belong_when_the_clock_is_set():
    hooks = Hooks()
    board, ear = Board(hooks), Ear("a")
    hooks.event(ear, Event("cough", 0, 1600, 0.9), {})  # type: ignore[arg-type]
    for an_hour_later, told in [("1970-01-01T01:00:00Z", False), ("2026-11-23T13:00:00Z", True)]:
        now = clock.Reading(clock.parse_rfc3339(an_hour_later), 3600.0, synchronised=told)
        (stretch,) = board.day(now)
        assert abs((now.at(0.0) - clock.parse_rfc3339(stretch["at"])).total_seconds()) <= STRETCH_S / 2 + 30.0


@pytest.mark.parametrize("zone_s", [0, 5.5 * 3600, 5.75 * 3600, -3.5 * 3600])
def test_event_counts_in_its_hour_of_every_time_zone(zone_s: float):
    hooks = Hooks()
    board, ear = Board(hooks), Ear("a")
    begun = clock.read()
    for minute in range(2, 23 * 60, 7):
        onset = round((begun.monotonic_s + 60 * minute) * 16_000)
        hooks.event(ear, Event("cough", onset, onset + 1600, 0.9), {})  # type: ignore[arg-type]
    expected = Counter((begun.utc.timestamp() + 60 * minute + zone_s) // 3600 for minute in range(2, 23 * 60, 7))
    counted: Counter[float] = Counter()
    for stretch in board.day(clock.read()):
        at_s = clock.parse_rfc3339(stretch["at"]).timestamp()
        counted[(at_s + zone_s) // 3600] += stretch["counts"]["cough"]
    assert counted == expected


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_no_score_is_higher_than_what_is_shown_of_its_moment(frames: int, step: int, seed: int):
    scores = np.random.default_rng(seed).random((frames, 3), np.float32)
    shown = highest(scores, step)
    assert len(shown) == -(-frames // step)
    for number, row in enumerate(shown):
        np.testing.assert_array_equal(row, scores[number * step : (number + 1) * step].max(axis=0))
