"""Fixtures that every package's tests share, and what lets tests run side by side."""

from __future__ import annotations

import os
import threading
from pathlib import Path

# Several test processes share a few cores: OpenMP threads that spin for each other would starve them all.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings
from tqdm import tqdm

import edge  # noqa: F401 - before any test imports onnxruntime: it switches that library's telemetry off

# The monitor's thread would take the lock of all bars at any time, also while a test forks.
tqdm.monitor_interval = 0

# A law that holds is not broken by a machine that is busy. All else is as it was, in CI the same examples each time.
settings.register_profile("patient", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def free_lock_of_bars() -> None:
    """A lock that nobody holds, for each test.

    tqdm keeps its lock when writing a bar fails (a closed stream, a full disk), and the next thread that draws a bar
    then waits for ever. Nor is it one between processes, which a killed child would keep.
    """
    kinds = [tqdm]
    for kind in kinds:
        kinds += kind.__subclasses__()
        if kind is tqdm or "_lock" in vars(kind):
            kind.set_lock(threading.RLock())


@pytest.fixture(scope="session")
def corpus_table() -> Path:
    """The CSV of the development recordings, for tests marked `corpus`; they skip where it is not at hand."""
    table = Path(os.environ.get("ACULA_DATA", ROOT.parent / "shared" / "data")) / "recordings.csv"
    if not table.is_file():
        pytest.skip(f"no development recordings at {table}; set ACULA_DATA to their folder")
    return table
