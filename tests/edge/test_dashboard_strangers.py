"""Whom the page answers, how many, and that nobody who calls it costs hearing anything."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from bench.mosquitto import free_port
from edge.dashboard.server import MOST_CONNECTIONS, MOST_OPEN
from edge.dashboard.site import own_names
from tests.brokers import PATIENCE_S, eventually
from tests.pages import ON, Page, answer, place_of
from tests.programs import Daemon


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
        files = Path(f"/proc/{daemon.process.pid}/fd")
        before = len(list(files.iterdir()))
        strangers = [socket.create_connection(place_of(daemon)) for _ in range(200)]
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
        for sent in (
            b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 200_000 + b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ):
            stranger = socket.create_connection(place_of(daemon), timeout=PATIENCE_S)
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
        with socket.create_connection(place_of(daemon), timeout=PATIENCE_S) as asking:
            asking.sendall(b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with asking.makefile("rb") as read:
                head = read.read()
        assert b"text/event-stream" in head
        assert head.endswith(b"\r\n\r\n")


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
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon, socket.socket() as asleep:
        asleep.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        asleep.connect(place_of(daemon))
        asleep.sendall(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(30):
            daemon.hear(sounds(16_000, 20.0, coughs=[1.0, 11.0]))
        eventually(lambda: len(daemon.logged("event")) == 60, "sixty coughs")
        assert answer(daemon).status == 200
        assert daemon.stop() == 0, daemon.errors()
        assert all(line.startswith("{") for line in daemon.errors().splitlines())
        assert not daemon.logged("library")
