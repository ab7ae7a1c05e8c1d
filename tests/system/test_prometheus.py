"""A real Prometheus reads a real daemon, and answers what the dashboard and the alerts ask."""

from __future__ import annotations

from typing import Any

from bench.mosquitto import free_port
from edge.metrics import LEVEL_S, hottest_celsius
from tests.brokers import eventually
from tests.programs import Daemon
from tests.prometheus import Prometheus, panels


def test_every_panel_and_every_alert_is_answered(tiny_bundle_path, tmp_path, sounds):
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.hear(sounds(16_000, LEVEL_S + 2.0, coughs=[1.0]))
        with Prometheus(tmp_path, str(daemon.wait_for("metrics")["address"])) as prometheus:

            def told(query: str) -> list[dict[str, Any]]:
                return prometheus.ask("query", query=query)["result"]

            eventually(lambda: bool(told("count_over_time(acula_level_dbfs[1m]) > 1")), "two readings")
            for panel in panels():
                answers = told(panel.expression)
                assert answers or ("temperature" in panel.expression and hottest_celsius() is None), panel
                assert all(panel.labels <= answer["metric"].keys() for answer in answers), panel
            assert [board["metric"]["device"] for board in told("acula_info")] == ["ward-3/bed-12"]

            def rules() -> set[tuple[str, str]]:
                groups = prometheus.ask("rules")["groups"]
                return {(rule["health"], rule.get("lastError", "")) for group in groups for rule in group["rules"]}

            eventually(lambda: "unknown" not in dict(rules()), "a look at each alert")
            assert rules() == {("ok", "")}
            [gone] = [panel.expression for panel in panels() if "unless" in panel.expression]
            assert told(gone)[0]["value"][1] == "0"
            daemon.process.kill()
            eventually(lambda: told(gone)[0]["value"][1] == "1", "a board that is gone")
