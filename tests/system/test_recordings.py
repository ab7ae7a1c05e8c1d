"""The bundle that ships, on real people: `edge replay` must find the coughs that somebody marked by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from align.corpora import Recording, read_table
from edge.matching import EventCounts, count_events

pytestmark = pytest.mark.corpus


def replay(recordings: list[Recording]) -> dict[str, list[float]]:
    """Onsets of the coughs that the program prints, by file."""
    command = [sys.executable, "-m", "edge", "replay", *(str(row.path) for row in recordings)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    events = [json.loads(line) for line in run.stdout.splitlines()]
    return {
        str(row.path): [
            event["onset_s"] for event in events if event["file"] == str(row.path) and event["label"] == "cough"
        ]
        for row in recordings
    }


@pytest.fixture(scope="module")
def held_out(corpus_table: Path) -> list[Recording]:
    return [row for row in read_table(corpus_table) if row.corpus == "coughseg" and row.split == "test"]


def test_replay_finds_the_marked_coughs_of_people_it_never_heard(held_out: list[Recording]) -> None:
    marked = [row for row in held_out if row.times_s][:20]
    heard = replay(marked)
    total = sum(
        (count_events([onset for onset, _ in row.times_s], heard[str(row.path)]) for row in marked), EventCounts()
    )
    assert total.reference > 60
    assert total.f1 > 0.8


def test_replay_of_recordings_without_a_cough_prints_next_to_none(held_out: list[Recording]) -> None:
    others = [row for row in held_out if not row.times_s][:20]
    assert sum(len(onsets) for onsets in replay(others).values()) <= 2
