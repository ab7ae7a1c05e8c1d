"""What an operator installs fits what the daemon does."""

from __future__ import annotations

import re
import urllib.request
from pathlib import Path

from bench.mosquitto import free_port
from tests.programs import ROOT, Daemon


def test_alerts_are_on_figures_that_the_daemon_has(tiny_bundle_path: Path, tmp_path: Path) -> None:
    rules = (ROOT / "deploy" / "prometheus" / "alerts.yml").read_text()
    asked = {name for line in re.findall(r"expr: (.*)", rules) for name in re.findall(r"acula_[a-z_]+", line)}
    assert len(asked) >= 7
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        address = str(daemon.wait_for("metrics")["address"])
        text = urllib.request.urlopen(address).read().decode()  # noqa: S310 - the loopback
    told = {re.split(r"[{ ]", line)[0] for line in text.splitlines() if line[:1] != "#"}
    assert asked <= told


def test_deployment_explains_the_log_lines_that_there_are() -> None:
    """A renamed line would leave its explanation behind, and a new one would have none."""
    tables = (ROOT / "deploy" / "README.md").read_text()
    explained = {name for row in re.findall(r"(?m)^\| (`.*?) \|", tables) for name in re.findall(r"`([a-z_]+)`", row)}
    source = "".join(path.read_text() for path in (ROOT / "edge").rglob("*.py"))
    assert {name for name in explained if f'"{name}"' not in source} == set()
    told = set(re.findall(r'\blog\.(?:warning|error|exception)\(\s*"([^"]+)"', source))
    assert len(told) > 30
    assert told - explained == set()
