"""What a browser is sent of a running daemon, read as a browser reads it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from bench.mosquitto import free_port
from edge import clock
from edge.dashboard.board import MOST_EVENTS, SPAN_S, STRETCH_S, Board, highest
from edge.dashboard.server import MOST_CONNECTIONS, MOST_OPEN, serve
from edge.dashboard.site import own_names
from edge.events import Event
from edge.hooks import Hooks
from edge.manifest import FrontEnd
from edge.sections import DashboardSettings
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
        self.answer.close()
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
        assert sum(stretch["heard_s"] for stretch in status["day"]) == pytest.approx(14.0, abs=0.5)
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


@pytest.mark.broker
def test_strangers_who_say_nothing_cost_neither_files_nor_the_page(tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon, ExitStack() as open_still:
        place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
        files = Path(f"/proc/{daemon.process.pid}/fd")
        before = len(list(files.iterdir()))
        strangers = [socket.create_connection((str(place.hostname), place.port)) for _ in range(200)]
        for number, stranger in enumerate(strangers):
            open_still.enter_context(stranger)
            with suppress(OSError):  # it is closed already
                stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "[: number % 40])
        eventually(lambda: len(list(files.iterdir())) <= before + MOST_OPEN, "most of them to be closed")
        daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
        daemon.wait_for("event")
        eventually(lambda: status_or_none(daemon) == 200, "room for somebody who asks")
        assert daemon.stop() == 0, daemon.errors()


def status_or_none(daemon: Daemon) -> int | None:
    """Of an answer; None where the connection is closed without."""
    try:
        return answer(daemon).status
    except OSError:
        return None


def test_what_strangers_send_leaves_no_trace_in_the_log(tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON) as daemon:
        place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
        for sent in (
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ):
            stranger = socket.create_connection((str(place.hostname), place.port), timeout=PATIENCE_S)
            with stranger, suppress(OSError):  # it does not read all of a long one
                stranger.sendall(sent)
                while stranger.recv(65_536):
                    pass
        assert answer(daemon).status == 200
        assert daemon.stop() == 0, daemon.errors()
        assert all(line.startswith("{") for line in daemon.errors().splitlines())
        assert not daemon.logged("library")


def test_question_for_the_stream_without_its_content_is_answered_to_an_end(tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON) as daemon:
        place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
        with socket.create_connection((str(place.hostname), place.port), timeout=PATIENCE_S) as asking:
            asking.sendall(b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with asking.makefile("rb") as read:
                head = read.read()
        assert b"text/event-stream" in head
        assert head.endswith(b"\r\n\r\n")


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
            assert all(line.startswith("{") for line in daemon.errors().splitlines())
            assert not daemon.logged("library")


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
