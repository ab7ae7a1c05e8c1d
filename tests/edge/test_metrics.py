"""What Prometheus sees of a running daemon, read as Prometheus reads it."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.mosquitto import free_port
from edge import __version__
from edge.hooks import Hooks
from edge.metrics import LEVEL_S, Metrics, hottest_celsius, serve
from edge.notify import Notifier
from edge.sections import MetricsSettings
from edge.sources.base import Block
from edge.upkeep import Upkeep
from tests.brokers import eventually, mosquitto
from tests.programs import Daemon

Sample = dict[tuple[str, ...], float]


def scrape(address: str) -> Sample:
    """Every sample by its name and the values of its labels."""
    with urllib.request.urlopen(address, timeout=60) as answer:  # noqa: S310 - our own address
        text = answer.read().decode()
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def address_of(daemon: Daemon) -> str:
    return str(daemon.wait_for("metrics")["address"])


@pytest.mark.broker
def test_daemon_tells_what_it_heard_found_and_delivered_and_no_more(tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
        address = address_of(daemon)
        assert address.startswith("http://127.0.0.1:")
        before = scrape(address)
        assert before["acula_events_total", "cough", "stdin"] == before["acula_gaps_total", "stdin"] == 0
        daemon.hear(sounds(16_000, 14.0, coughs=[1.0, 3.0], breaths=[5.0]))
        eventually(lambda: scrape(address)["acula_audio_seconds_total", "stdin"] > 13.99, "all sound taken in")
        eventually(lambda: scrape(address)["acula_events_total", "breath", "stdin"] == 1, "the last event")
        eventually(lambda: scrape(address)["acula_outbox_messages",] == 0, "delivery")
        eventually(lambda: scrape(address)["acula_lag_seconds", "stdin"] == 0, "no lag")
        seen = scrape(address)
        assert seen["acula_events_total", "cough", "stdin"] == 2
        assert seen["acula_window_seconds_count", "stdin"] >= 20
        assert -60 < seen["acula_level_dbfs", "stdin"] < 0
        assert seen["acula_noise_floor_dbfs", "stdin"] < seen["acula_level_dbfs", "stdin"]
        assert seen["acula_clipped_ratio", "stdin"] == 0
        assert seen["acula_up", "stdin"] == seen["acula_broker_connected",] == 1
        assert seen["acula_stuck",] == seen["acula_dropped_total",] == seen["acula_publish_errors_total",] == 0
        assert seen["acula_info", "onnxruntime", "tiny-1.2.3", __version__] == 1
        assert not [name for name, *_ in seen if name.endswith("_created")]
        assert daemon.finish() == 0, daemon.errors()


@pytest.mark.broker
def test_broker_that_is_away_or_refuses_is_counted(tiny_bundle_path, tmp_path, sounds):
    port = free_port()
    with Daemon(tiny_bundle_path, tmp_path, port) as daemon:
        address = address_of(daemon)
        eventually(lambda: scrape(address)["acula_publish_errors_total",] >= 1, "an error")
        assert scrape(address)["acula_broker_connected",] == 0
        daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
        eventually(lambda: scrape(address)["acula_outbox_messages",] >= 1, "an event that waits")
        (tmp_path / "acl").write_text("topic write acula/ward-3/bed-12/status\n")
        (tmp_path / "acl").chmod(0o644)
        given = f"allow_anonymous true\nacl_file {tmp_path}/acl"
        with mosquitto(tmp_path / "broker", settings=given, port=port):
            before = scrape(address)["acula_publish_errors_total",]
            eventually(lambda: bool(daemon.logged("broker_refused_message")), "a refusal")
            eventually(lambda: scrape(address)["acula_publish_errors_total",] > before, "its count")
        assert daemon.stop() == 0, daemon.errors()


def test_port_that_is_taken_is_told_once_and_stops_nothing(tiny_bundle_path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Daemon(tiny_bundle_path, tmp_path, free_port(), "--metrics.port", str(port)) as daemon:
            daemon.wait_for("ready")
            assert [entry["port"] for entry in daemon.logged("no_metrics")] == [port]
            assert "in use" in daemon.logged("no_metrics")[0]["reason"]
            daemon.finish()


@pytest.mark.parametrize("host", ["192.0.2.1", "no..host"])
def test_address_that_is_not_this_machines_is_told(logs, host):
    metrics = Metrics(Hooks(), version="1", bundle="tiny-1", backend="onnxruntime", labels=["cough"])
    serve(metrics, MetricsSettings(host=host, port=0))()
    assert [(entry["event"], entry["host"], bool(entry["reason"])) for entry in logs] == [("no_metrics", host, True)]


def test_metrics_can_be_switched_off(tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), "--no-metrics.enabled") as daemon:
        daemon.wait_for("ready")
        assert daemon.logged("metrics") == daemon.logged("no_metrics") == []
        daemon.finish()


class Ear:
    """What the metrics look at of a listener."""

    def __init__(self, name: str, rate_hz: int) -> None:
        self.name, self.trouble, self.lag_s = name, "", 0.0
        self.source = self
        self.sample_rate_hz = rate_hz
        self.backlog = self
        self.dropped_s = 0.0


def test_gaps_levels_and_trouble_are_told_for_each_source():
    hooks = Hooks()
    metrics = Metrics(hooks, version="1", bundle="tiny-1", backend="onnxruntime", labels=["cough"])
    bed, hall = Ear("bed-12", 1_000), Ear("hall", 1_000)
    metrics.watch(bed)
    metrics.watch(hall)
    square = np.tile(np.array([[0.1], [-0.1]], np.float32), (round(LEVEL_S * 500), 1))
    hooks.block(bed, Block(2_000, square))
    hooks.block(bed, Block(2_000 + len(square) + 500, np.ones((100, 1), np.float32)))
    bed.trouble, bed.dropped_s = "no sound for 5 s", 1.5

    def value(name: str, source: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"source": source})

    assert (value("acula_gaps_total", "bed-12"), value("acula_gap_seconds_total", "bed-12")) == (2, 2.5)
    assert value("acula_level_dbfs", "bed-12") == pytest.approx(-20.0)
    assert value("acula_clipped_ratio", "bed-12") == 0  # of the last whole stretch
    assert (value("acula_up", "bed-12"), value("acula_up", "hall")) == (0, 1)
    assert value("acula_dropped_seconds_total", "bed-12") == 1.5
    assert (value("acula_gaps_total", "hall"), value("acula_level_dbfs", "hall")) == (0, None)


def test_device_whose_upkeep_does_not_go_on_is_stuck(monkeypatch):
    upkeep = Upkeep(minutes=None, corrections=None, notifier=Notifier({}), stuck=lambda: "", notify=lambda: None)
    assert not upkeep.is_stuck
    monkeypatch.setattr("edge.upkeep._TURN_S", -1.0)
    assert upkeep.is_stuck


def test_temperature_is_that_of_the_hottest_zone(tmp_path: Path):
    assert hottest_celsius(tmp_path) is None
    for number, text in enumerate(["41500\n", "63000\n", "", "broken"]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(text)
    assert hottest_celsius(tmp_path) == 63.0
