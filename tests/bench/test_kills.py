"""The short form of `bench.kills`: nothing is lost, and a kill repeats one event at most."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.brokers import mosquitto
from tests.programs import ROOT

KILLS = 12


@pytest.mark.broker
def test_random_kills_of_broker_and_device_lose_nothing(tmp_path: Path) -> None:
    mosquitto(tmp_path / "unused")  # skips where there is none
    options = ["--events", "3000", "--kills", str(KILLS), "--folder", str(tmp_path)]
    command = [sys.executable, "-m", "bench.kills", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    told = re.search(r"^3000 events .*: lost 0, repeated (\d+)$", run.stdout, re.MULTILINE)
    assert told is not None, run.stdout
    assert int(told[1]) <= KILLS


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--events", "5", "--kills", "5"), "--kills = 5: give 0 or more, and fewer than --events = 5"),
        (("--folder", "/no/such"), "--folder = /no/such: no such folder"),
    ],
)
def test_wrong_option_is_told_in_one_line(options: tuple[str, ...], told: str) -> None:
    command = [sys.executable, "-m", "bench.kills", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {told}")
    assert run.stderr.count("\n") == 1
