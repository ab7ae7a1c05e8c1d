"""A defect in what stands beside hearing is told, shown while it lasts, and costs nothing else."""

from __future__ import annotations

from typing import Any

from edge.guard import Guard


def test_defect_is_told_once_and_is_trouble_until_it_is_over(logs: list[Any]) -> None:
    guard, broken = Guard("upkeep_failed"), [True]

    def turn(number: int) -> int:
        if broken[0]:
            raise ValueError("no such minute\nof this day")
        return number

    assert guard.call("minutes", turn, 1) is None
    assert guard.call("minutes", turn, 2) is None
    assert guard.call("corrections", int, "3") == 3
    assert guard.trouble == "minutes failed (no such minute)"
    assert [(entry["event"], entry["part"]) for entry in logs] == [("upkeep_failed", "minutes")]
    broken[0] = False
    assert guard.call("minutes", turn, 4) == 4
    assert guard.trouble == ""
