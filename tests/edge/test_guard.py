"""A defect in what stands beside hearing is told, shown while it lasts, and costs nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from edge.guard import TOLD_S, Guard


def test_defect_is_told_once_and_is_trouble_until_it_is_over(logs: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [1000.0]
    monkeypatch.setattr("edge.guard.time.monotonic", lambda: now_s[0])
    guard = Guard("upkeep_failed")
    numbers = itertools.count()

    def sometimes() -> int:
        if (number := next(numbers)) % 2 == 0:
            raise ValueError(f"no minute {number}\nof this day")
        return number

    assert [guard.call("minutes", sometimes) for _ in range(4)] == [None, 1, None, 3]
    assert guard.call("corrections", int, "3") == 3
    now_s[0] += TOLD_S - 1.0
    assert guard.trouble == "minutes failed (no minute 0)"
    assert [(entry["event"], entry["part"]) for entry in logs] == [("upkeep_failed", "minutes")]
    now_s[0] += 2.0
    assert guard.trouble == ""
