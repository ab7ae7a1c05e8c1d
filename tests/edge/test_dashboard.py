"""What a browser is sent of a running daemon, read as a browser reads it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import takewhile
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.mosquitto import free_port
from edge import clock
from edge.dashboard.board import MOST_EVENTS, MOST_STRETCHES, SPAN_S, Board, highest
from edge.dashboard.server import MOST_CONNECTIONS
from edge.dashboard.site import own_names
from edge.events import Event
from edge.hooks import Hooks
from edge.manifest import FrontEnd
from edge.track import TrackChunk
from tests.brokers import PATIENCE_S, Broker, Subscriber, eventually
from tests.programs import BASE, Daemon

ON = ("--dashboard.enabled", "--dashboard.port", "0")


class Page:
    """A connection to the page's stream; a context manager."""

    def __init__(self, daemon: Daemon, path: str = "/stream") -> None:
        self.place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
        self._connection = http.client.HTTPConnection(str(self.place.hostname), self.place.port, timeout=PATIENCE_S)
        self._connection.request("GET", path)
        self.answer = self._connection.getresponse()

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Kind and content of what comes, until the stream ends."""
        while kind := self.answer.readline().decode():
            content = self.answer.readline().decode()
            assert self.answer.readline() == b"\n"
            yield kind.removeprefix("event: ").strip(), json.loads(content.removeprefix("data: "))

    def until(self, kind: str, **contents: Any) -> list[tuple[str, dict[str, Any]]]:
        """All messages up to the first of a kind with these contents."""
        read = []
        for message in self.messages():
            read.append(message)
            if message[0] == kind and contents.items() <= message[1].items():
                return read
        pytest.fail(f"the stream ended without {kind} {contents}: {read}")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()


def answer(daemon: Daemon, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
    with closing(http.client.HTTPConnection(str(place.hostname), place.port, timeout=PATIENCE_S)) as connection:
        connection.request(method, path, headers=headers)
        got = connection.getresponse()
        got.read()
        return got


@pytest.mark.broker
def test_page_is_sent_the_events_of_the_broker_the_scores_and_how_the_device_is(
    tiny_bundle_path, tmp_path, broker: Broker, sounds
):
    with (
        Subscriber(broker.port) as subscriber,
        Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon,
        Page(daemon) as page,
    ):
        daemon.hear(sounds(16_000, 14.0, coughs=[1.0, 3.0], breaths=[5.0]))
        read = page.until("event", label="breath")
        told = [content for kind, content in read if kind == "event"]
        eventually(lambda: len(subscriber.payloads(f"{BASE}/event")) == 3, "events at the broker")
        assert told == subscriber.payloads(f"{BASE}/event")

        sound = [content for kind, content in read if kind == "sound"]
        first = clock.parse_rfc3339(sound[0]["start"])
        highest_of = {
            round((clock.parse_rfc3339(piece["start"]) - first).total_seconds() + step * piece["step_s"], 1): scores
            for piece in sound
            for step, scores in enumerate(piece["scores"])
        }
        assert highest_of[1.1][0] > 0.5 > highest_of[2.0][0]
        assert highest_of[5.1][1] > 0.5 > highest_of[5.1][0]
        levels = [piece["level_dbfs"] for piece in sound if piece["level_dbfs"] is not None]
        assert levels
        assert all(-80 < level < 0 for level in levels)

        eventually(lambda: status_of(daemon)["is_connected"], "the broker on the page")
        status = status_of(daemon)
        assert (status["site"], status["device"], status["status"]["bundle"]) == ("ward-3", "bed-12", "tiny-1.2.3")
        assert status["status"]["state"] == "online"
        assert status["sources"] == [{"name": "stdin", "trouble": ""}]
        assert status["labels"].keys() == {"cough", "breath"}
        counted = [sum(stretch["counts"].get(label, 0) for stretch in status["day"]) for label in status["labels"]]
        assert counted == [2, 1]
        assert sum(stretch["heard_s"]["stdin"] for stretch in status["day"]) == pytest.approx(14.0, abs=0.5)
        assert daemon.finish() == 0, daemon.errors()


def status_of(daemon: Daemon) -> dict[str, Any]:
    with Page(daemon) as page:
        return page.until("status")[0][1]


@pytest.mark.broker
def test_page_that_comes_later_is_sent_what_was_before(tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon:
        daemon.hear(sounds(16_000, 8.0, coughs=[1.0, 3.0]))
        eventually(lambda: len(daemon.logged("event")) == 2, "two coughs")
        with Page(daemon) as page:
            page.until("event", seq=1)
        assert daemon.stop() == 0, daemon.errors()


def test_stranger_is_answered_nothing_of_the_device(tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON) as daemon:
        for host in ("evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::1"):
            for path in ("/", "/stream"):
                assert answer(daemon, path, Host=host).status == 421
        for host in ("localhost", "127.0.0.1:8080", "[::1]:8080", "192.168.7.9", socket.gethostname().upper()):
            assert answer(daemon, Host=host).status == 200
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert answer(daemon, "/stream", method).status == 405
            assert answer(daemon, "/", method).status == 405
        for path in ("/stream?source=other", "/../board.py", "/%2e%2e/board.py", "/etc/passwd"):
            assert answer(daemon, path).status == 404
        guarded = answer(daemon).headers
        assert "default-src 'none'" in guarded["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in guarded["Content-Security-Policy"]
        assert guarded["Cross-Origin-Resource-Policy"] == "same-origin"
        assert guarded["Access-Control-Allow-Origin"] is None
        assert guarded["Server"] is None
        assert daemon.stop() == 0, daemon.errors()


def test_name_under_which_it_is_served_is_its_own():
    assert {"localhost", "bed-12.ward.example"} <= own_names("Bed-12.ward.example")


@pytest.mark.broker
def test_more_browsers_than_it_serves_are_told_so_and_hearing_goes_on(tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon:
        pages = [Page(daemon) for _ in range(MOST_CONNECTIONS + 4)]
        codes = [page.answer.status for page in pages]
        assert codes.count(503) >= 4
        assert codes.count(200) >= MOST_CONNECTIONS - 2
        daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
        pages[0].until("event", label="cough")
        for page in pages:
            page.__exit__()
        eventually(lambda: answer(daemon).status == 200, "room for another")
        assert daemon.stop() == 0, daemon.errors()


@pytest.mark.broker
def test_browser_that_takes_nothing_holds_nothing_up(tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon:
        place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
        with socket.socket() as asleep:
            asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            asleep.connect((str(place.hostname), place.port))
            asleep.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for _ in range(30):
                daemon.hear(sounds(16_000, 20.0, coughs=[1.0, 11.0]))
            eventually(lambda: len(daemon.logged("event")) == 60, "sixty coughs")
            assert answer(daemon).status == 200
            assert daemon.stop() == 0, daemon.errors()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_ends_the_stream_and_all_is_in_order(tiny_bundle_path, tmp_path, number):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON) as daemon, Page(daemon) as page:
        page.until("status")
        assert daemon.stop(number) == 0, daemon.errors()
        assert not [kind for kind, _ in takewhile(lambda message: message[0] != "status", page.messages())]
        assert daemon.logged("dashboard_failed") == []
        assert all(line.startswith("{") for line in daemon.errors().splitlines())


def test_port_that_is_taken_is_told_once_and_stops_nothing(tiny_bundle_path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON[:2], str(port)) as daemon:
            daemon.wait_for("ready")
            assert [entry["port"] for entry in daemon.logged("no_dashboard")] == [port]
            assert "in use" in daemon.logged("no_dashboard")[0]["reason"]
            assert daemon.stop() == 0, daemon.errors()


@pytest.mark.parametrize("host", ["192.0.2.1", "no..host"])
def test_address_that_is_not_this_machines_is_told(tiny_bundle_path, tmp_path, host):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, "--dashboard.host", host) as daemon:
        told = daemon.wait_for("no_dashboard")
        assert told["host"] == host
        assert told["reason"]
        daemon.wait_for("ready")
        assert daemon.stop() == 0, daemon.errors()


def test_device_without_a_page_does_not_load_what_it_needs(tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.wait_for("ready")
        assert daemon.logged("dashboard") == daemon.logged("no_dashboard") == []
        daemon.finish()
    loaded = "import edge.device, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True).stdout.split()
    assert not {"starlette", "uvicorn"} & set(modules)


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
    assert len(day) <= MOST_STRETCHES
    assert sum(stretch["counts"]["cough"] for stretch in day) == 24 * 4
    assert not hooks.trouble


def test_counts_stay_where_they_belong_when_the_clock_is_set():
    hooks = Hooks()
    board, ear = Board(hooks), Ear("a")
    hooks.event(ear, Event("cough", 0, 1600, 0.9), {})  # type: ignore[arg-type]
    unset = clock.Reading(clock.parse_rfc3339("1970-01-01T01:00:00Z"), 3600.0, synchronised=False)
    assert [stretch["start"] for stretch in board.day(unset)] == ["1970-01-01T00:00:00.000Z"]
    is_set = clock.Reading(clock.parse_rfc3339("2026-11-23T13:00:00Z"), 3600.0, synchronised=True)
    assert [stretch["start"] for stretch in board.day(is_set)] == ["2026-11-23T12:00:00.000Z"]


@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_no_score_is_higher_than_what_is_shown_of_its_moment(frames: int, step: int, seed: int):
    scores = np.random.default_rng(seed).random((frames, 3), np.float32)
    shown = highest(scores, step)
    assert len(shown) == -(-frames // step)
    for number, row in enumerate(shown):
        np.testing.assert_array_equal(row, scores[number * step : (number + 1) * step].max(axis=0))
