"""Tables of test recordings, of what a device would have heard in recordings made by hand."""

from __future__ import annotations

import re
from pathlib import Path

from align.corpora import Recording
from bench.listening import Heard
from bench.recordings import clip_table, source_table
from edge.events import Event

LABELS = ("cough", "breath", "speech")


def _row(corpus: str, event: str, number: int) -> Recording:
    name = f"{corpus}-{event}-{number}"
    return Recording(Path(f"{name}.wav"), corpus, name, "test", "airborne", event)


def _heard(**scores: float) -> Heard:
    events: tuple[Event, ...] = ()
    return Heard({label: scores.get(label, 0.1) for label in LABELS}, events, 16_000, 2.0)


def _cells(lines: list[str], start: str) -> list[str]:
    return next(re.split("  +", line.strip()) for line in lines if line.startswith(start))


def test_source_whose_coughs_are_missed_shows_though_all_together_look_well() -> None:
    rows = [_row("phone", "cough", number) for number in range(90)] + [_row("phone", "rain", at) for at in range(50)]
    rows += [_row("hall", "cough", number) for number in range(10)] + [_row("hall", "rain", at) for at in range(10)]
    scores = [0.9] * 90 + [0.2 + 0.001 * at for at in range(50)] + [0.01] * 10 + [0.3] * 10
    lines = source_table(rows, [_heard(cough=score) for score in scores], LABELS)
    hall, phone = _cells(lines, "cough   hall"), _cells(lines, "cough   phone")
    assert hall[:4] == ["cough", "hall", "10", "10"]
    assert hall[4].startswith("0.000")
    assert phone[4] == "1.000 [1.000, 1.000]"
    assert not any(line.split()[0] == "breath" and "[" in line for line in lines)


def test_breath_alone_is_not_told_by_recordings_of_other_sounds() -> None:
    """People breathe between their coughs: a recording that scores as both is not of breath alone."""
    rows = [_row("coswara", "breath", at) for at in range(8)] + [_row("coswara", "cough", at) for at in range(8)]
    heard = [_heard(breath=0.8) for _ in range(8)] + [_heard(breath=0.9, cough=0.99) for _ in range(8)]
    lines = clip_table(rows, heard, None)
    assert _cells(lines, "Coswara: breath")[-1].startswith("0.000")
    assert _cells(lines, "  breath and no other label")[-1].startswith("1.000")


def test_task_without_recordings_of_both_kinds_is_left_out() -> None:
    lines = clip_table([_row("coughseg", "cough", at) for at in range(8)], [_heard(cough=0.9)] * 8, None)
    assert len(lines) == 1
