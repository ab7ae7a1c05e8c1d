"""Contact audio of real people: murmurs by `edge replay` with the bundle that ships, and the breathing rate."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from align.audio import load
from align.corpora import Recording, read_table
from edge.respiration import BANDS, BandLevels, estimate

pytestmark = pytest.mark.corpus
RATE_HZ = 4000


def with_murmur_event(recordings: list[Recording]) -> int:
    command = [sys.executable, "-m", "edge", "replay", "--bundle.path", "auscultation"]
    command += [str(row.path) for row in recordings]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in run.stdout.splitlines()]
    assert {event["label"] for event in events} <= {"murmur"}
    return len({event["file"] for event in events})


def test_replay_tells_hearts_with_a_murmur_from_others(corpus_table: Path) -> None:
    rows = [row for row in read_table(corpus_table) if row.corpus == "circor" and row.split == "test"]
    loud = [row for row in rows if row.metadata.get("murmur_here") == "1.0"][:30]
    quiet = [row for row in rows if row.metadata["murmur"] == "Absent"][:60]
    assert with_murmur_event(loud) >= 15
    assert with_murmur_event(quiet) <= 9


def test_breathing_rate_is_near_the_metronomes_for_nearly_everybody(corpus_table: Path) -> None:
    rows = [row for row in read_table(corpus_table) if row.corpus == "rrujo" and row.split == "train"]
    found = [estimate(BandLevels(RATE_HZ).push(load(row.path, RATE_HZ)), BANDS) for row in rows]
    errors = [
        abs(one.rate_bpm - float(row.metadata["respiration_bpm"]))
        for one, row in zip(found, rows, strict=True)
        if one.rate_bpm is not None
    ]
    assert len(errors) >= 0.8 * len(rows)
    assert np.mean([error <= 2.0 for error in errors]) >= 0.85
