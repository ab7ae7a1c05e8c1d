"""`python -m edge bench`: what hearing takes of this machine, as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edge.bench import MOST_OF_HOP, Cost, Report, text

ROOT = Path(__file__).parents[2]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "bench", "--seconds", "2", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_window_is_timed_at_the_hop_that_is_set(tiny_bundle_path):
    given = ("--bundle.path", str(tiny_bundle_path), "--bundle.allow_unsigned", "--windows.hop_s", "1", "--json")
    done = bench(*given)
    told = json.loads(done.stdout)
    assert (told["bundle"], told["backend"], told["hop_s"]) == ("tiny-1.2.3", "onnxruntime", 1.0)
    assert told["fast"]["windows"] == 59  # of 2 s in 60 s
    assert told["paced"]["windows"] == 1
    for cost in (told["fast"], told["paced"]):
        assert 0 < cost["median_ms"] <= cost["slowest_percent_ms"]
        assert cost["processor"] > 0
    assert done.returncode == (told["paced"]["slowest_percent_ms"] > 1000 * MOST_OF_HOP)


def test_bundle_that_ships_is_measured_where_none_is_named():
    done = bench()
    assert done.stdout.startswith("room-"), done.stderr
    assert "of one core" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(("slow_ms", "is_told"), [(124.0, False), (126.0, True)])
def test_machine_that_is_too_slow_for_the_hop_is_told(slow_ms: float, is_told: bool):
    cost = Cost(windows=117, median_ms=80.0, slowest_percent_ms=slow_ms, processor=0.2)
    fast = replace(cost, slowest_percent_ms=1.0)
    report = Report("room-1.0.0", "onnxruntime", hop_s=0.5, fast=fast, paced=cost, celsius=61.0)
    assert report.is_fast_enough is not is_told
    assert ("windows.hop_s" in text(report)) is is_told
    assert "61 °C" in text(report)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--seconds", "0"], "--seconds 0: give from 1 to 86400"),
        (["--seconds", "nan"], "--seconds nan: give from 1 to 86400"),
        (["--bundle.path", "/nowhere"], "/nowhere"),
        (["--windows.hop_s", "3"], "windows.hop_s is 3.0"),
    ],
)
def test_what_cannot_be_measured_is_one_line(arguments: list[str], told: str):
    done = bench(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
