"""What the card says of figures made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from align.statistics import Interval
from edge.bundle import OperatingPoint
from edge.marks import Recording
from edge.scoring import score
from quantize.card import auroc_table, events_section, failures, limitations, operating_points
from quantize.failures import Failures, Wrong
from quantize.gate import Candidate, Verdict
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy

POINT = OperatingPoint(on=0.6, off=0.3, minimum_duration_s=0.08, merge_gap_s=0.04, refractory_s=0.16, split_depth=0.15)
CURVE = ((0.5, 0.9, 0.4), (0.6, 0.8, 0.7))
CHOICE = Choice("cough", POINT, "event F1", "3 recordings", 0.7, ("on", "sensitivity", "PPV"), CURVE)


def _accuracy(label: str, positives: int, value: float) -> LabelAccuracy:
    return LabelAccuracy(label, positives, 300, Interval(value, 0.8, 0.99), Interval(0.002, -0.001, 0.004))


def _results(**changes: Any) -> Any:
    """Of two labels of an encoder that ships in INT8."""
    candidates = {
        "float32": Candidate(2000, 2.0, (_accuracy("cough", 60, 0.95), _accuracy("breath", 20, 0.95))),
        "int8": Candidate(1000, 1.0, (_accuracy("cough", 60, 0.9), _accuracy("breath", 20, 0.9))),
    }
    given = {"candidates": candidates, "verdict": Verdict("int8", ""), "choices": [CHOICE], "events": {}}
    return SimpleNamespace(**(given | changes))


def test_accuracy_is_that_of_the_form_that_ships() -> None:
    lines = auroc_table(_results(), ("label", "with", "without")).splitlines()
    assert lines[2] == "| cough | 60 | 300 | 0.900 [0.800, 0.990] | +0.0020 [-0.0010, +0.0040] |"


def test_events_are_told_measure_by_measure() -> None:
    found = score(
        [
            Recording("a", (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 9.0)),
            Recording("b", (), (2.0, 4.0)),
            Recording("c", (1.0,), ()),
        ]
    )
    text = events_section({"cough": found})
    assert "onsets matched one to one within 0.30 s" in text
    assert "| marked events | 5 |" in text
    for name, value in (("sensitivity", "0.600"), ("ppv", "0.500"), ("f1", "0.545")):
        interval = found.intervals[name]  # type: ignore[index]
        title = {"sensitivity": "sensitivity", "ppv": "PPV", "f1": "F1"}[name]
        assert f"| {title} | {value} [{interval.low:.3f}, {interval.high:.3f}] |" in text
    assert "| false positives | 1 in recordings with events, 2 in others |" in text


def test_points_stand_beside_the_curve_that_they_were_chosen_on() -> None:
    text = operating_points([CHOICE])
    assert "| cough | 0.6 | 0.3 | 0.08 | 0.04 | 0.16 | 0.15 |" in text
    assert "| 0.500 | 0.900 | 0.400 |\n| **0.600** | **0.800** | **0.700** |" in text


def test_what_is_told_wrongly_is_counted_of_what_could_be() -> None:
    text = failures(Failures((Wrong("cough", 3, 300, 5, 60),), (), (), 0))
    assert "| cough | 3 of 300 | 5 of 60 |" in text


def test_weak_figures_and_labels_without_marked_times_are_named() -> None:
    text = limitations(_results())
    assert "- breath: only 20 test clips hold it" in text
    assert "cough: only" not in text
    assert "- cough: no recording has marked times" in text
    marked = limitations(_results(events={"cough": score([Recording("a", (1.0,), (1.0,))])}))
    assert "no recording has marked times" not in marked
