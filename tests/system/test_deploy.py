"""What an operator installs fits what the daemon does."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.mosquitto import free_port
from edge.metrics import LEVEL_S, hottest_celsius
from tests.brokers import eventually
from tests.programs import ROOT, Daemon
from tests.prometheus import alerts, panels


def names_at(address: str) -> set[str]:
    """Of all samples that are there now."""
    text = urllib.request.urlopen(address, timeout=60).read().decode()  # noqa: S310 - the loopback
    return {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line[:1] != "#"}


def test_alerts_and_dashboard_are_on_figures_that_the_daemon_has(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Callable[..., NDArray[np.float32]]
) -> None:
    queries = [*alerts(), *(panel.expression for panel in panels())]
    asked = {name for query in queries for name in re.findall(r"\b(?:acula|process)_[a-z_]+", query)}
    assert len(asked) >= 20
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        address = str(daemon.wait_for("metrics")["address"])
        daemon.hear(sounds(16_000, LEVEL_S + 2.0))
        eventually(lambda: "acula_level_dbfs" in names_at(address), "the first level")
        told = names_at(address)
    if hottest_celsius() is None:
        asked.discard("acula_temperature_celsius")
    assert asked - told == set()


def test_deployment_explains_the_log_lines_that_there_are() -> None:
    """A renamed line would leave its explanation behind, and a new one would have none."""
    tables = (ROOT / "deploy" / "README.md").read_text()
    explained = {name for row in re.findall(r"(?m)^\| (`.*?) \|", tables) for name in re.findall(r"`([a-z_]+)`", row)}
    source = "".join(path.read_text() for path in (ROOT / "edge").rglob("*.py"))
    assert {name for name in explained if f'"{name}"' not in source} == set()
    told = set(re.findall(r'\blog\.(?:warning|error|exception)\(\s*"([^"]+)"', source))
    assert len(told) > 30
    assert told - explained == set()
