"""The short form of `bench.soak`: the real daemon through kills, a full disk, stalls and steps of the clock."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.programs import ROOT


@pytest.mark.broker
def test_nothing_is_lost_and_all_sound_is_accounted_for_beyond_two_to_the_31(tmp_path: Path) -> None:
    mosquitto(tmp_path / "unused")  # skips where there is none
    options = ["--hours", "0.1", "--faults", "2", "--scene", "60", "--folder", str(tmp_path)]
    command = [sys.executable, "-m", "bench.soak", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = dict(re.findall(r"^(\w[\w ]*?)  +(.*)$", run.stdout, re.MULTILINE))
    events, counted = map(int, re.fullmatch(r"(\d+) kept, 0 lost; (\d+) in the minutes", told["events"]).groups())
    assert events == counted > 50
    # Every gap and every second of sound is told, and no time is left that nobody had set the clock for.
    assert float(re.search(r"([\d.]+) h of", told["minutes"])[1]) == pytest.approx(0.1, abs=5e-4)
    assert "0 with an unset clock's time" in told["messages"]
    assert told["errors"] == "none"
    # The faults have reached the daemon.
    assert int(re.search(r"(\d+) connections", told["broker killed"])[1]) >= 3
    assert int(re.search(r"told (\d+) times", told["disk full"])[1]) > 0
    # What it uses does not grow: the connection to the broker, where it is gone at first, is one file more at last.
    used = {
        name: [float(value) for value in re.findall(r"([\d.]+) at", told[name])]
        for name in ("resident memory", "file descriptors", "threads")
    }
    assert len(set(used["threads"])) == 1
    assert max(used["file descriptors"]) <= used["file descriptors"][0] + 2
    assert max(used["resident memory"]) < used["resident memory"][0] + 10.0
