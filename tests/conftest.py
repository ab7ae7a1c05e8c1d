"""Fixtures that every package's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import edge  # noqa: F401 - before any test imports onnxruntime: it switches that library's telemetry off

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def corpus_table() -> Path:
    """The CSV of the development recordings, for tests marked `corpus`; they skip where it is not at hand."""
    table = Path(os.environ.get("ACULA_DATA", ROOT.parent / "shared" / "data")) / "recordings.csv"
    if not table.is_file():
        pytest.skip(f"no development recordings at {table}; set ACULA_DATA to their folder")
    return table
