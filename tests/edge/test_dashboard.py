"""What the page of a running daemon is sent, and how it begins and ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from itertools import takewhile

import pytest

from bench.mosquitto import free_port
from edge import clock
from tests.brokers import Broker, Subscriber, eventually
from tests.pages import ON, Page, status_of
from tests.programs import BASE, Daemon


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


@pytest.mark.broker
def test_page_that_comes_later_is_sent_what_was_before(tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON) as daemon:
        daemon.hear(sounds(16_000, 8.0, coughs=[1.0, 3.0]))
        eventually(lambda: len(daemon.logged("event")) == 2, "two coughs")
        with Page(daemon) as page:
            page.until("event", seq=1)
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
