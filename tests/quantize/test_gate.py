"""Which form of an encoder ships, and whether any may, by figures made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from align.statistics import Interval
from quantize.errors import GateError
from quantize.gate import Candidate, decide
from quantize.parity import LabelAccuracy


def _candidate(latency_ms: float, drop: float, high: float | None = None) -> Candidate:
    good = LabelAccuracy("breath", 9, 9, Interval(0.9, 0.8, 1.0), Interval(0.0, 0.0, 0.0))
    lost = Interval(drop, drop, drop if high is None else high)
    return Candidate(1000, latency_ms, (good, LabelAccuracy("cough", 9, 9, Interval(0.9, 0.8, 1.0), lost)))


@pytest.mark.parametrize(
    ("wanted", "int8_ms", "drop", "high", "ships", "reason"),
    [
        ("auto", 1.0, 0.004, 0.009, "int8", "at least 1.1 times as fast"),
        ("auto", 1.95, 0.0, 0.0, "float32", "less than 1.1 times as fast"),
        ("auto", 1.0, 0.006, 0.006, "float32", "costs cough 0.0060 of AUROC"),
        ("auto", 1.0, 0.001, 0.011, "float32", "95 % 0.0010 to 0.0110"),
        ("auto", 1.0, float("nan"), 0.0, "float32", "costs cough nan"),
        ("int8", 3.0, 0.0, 0.0, "int8", "asked for"),
        ("float32", 1.0, 0.0, 0.0, "float32", "asked for"),
    ],
)
def test_int8_ships_only_where_faster_and_as_accurate(
    wanted: Any, int8_ms: float, drop: float, high: float, ships: str, reason: str
) -> None:
    verdict = decide(wanted, {"float32": _candidate(2.0, 0.0), "int8": _candidate(int8_ms, drop, high)})
    assert (verdict.precision, verdict.allowed) == (ships, "")
    assert reason in verdict.reason


def test_jetson_ships_int8_whatever_its_speed_here() -> None:
    int8 = Candidate(1000, None, _candidate(1.0, 0.0).accuracy)
    assert decide("auto", {"float32": _candidate(2.0, 0.0), "int8": int8}, target="jetson").precision == "int8"


@pytest.mark.parametrize(
    ("drop", "high"), [(0.0051, 0.0051), (0.001, 0.0101), (float("nan"), 0.0), (0.0, float("nan"))]
)
@pytest.mark.parametrize("target", ["cpu", "jetson"])
def test_what_is_less_accurate_than_float32_fails_the_gate(drop: float, high: float, target: Any) -> None:
    candidates: Any = {"float32": _candidate(2.0, 0.0), "int8": _candidate(1.0, drop, high)}
    with pytest.raises(GateError, match=r"INT8 costs cough .*--quantise_epochs"):
        decide("int8", candidates, target=target)


def test_drop_that_is_allowed_ships_and_is_told() -> None:
    candidates: Any = {"float32": _candidate(2.0, 0.0), "int8": _candidate(1.0, 0.02)}
    verdict = decide("auto", candidates, allow_drop=True)
    assert verdict.precision == "int8"
    assert verdict.allowed.startswith("INT8 costs cough 0.0200 of AUROC")
    assert "no label" not in verdict.reason


@pytest.mark.parametrize("drop", [0.03, float("nan")])
def test_worst_label_is_told(drop: float) -> None:
    worse = LabelAccuracy("speech", 9, 9, Interval(0.9, 0.8, 1.0), Interval(drop, 0.02, 0.04))
    assert Candidate(1000, 1.0, (*_candidate(1.0, 0.02).accuracy, worse)).worst.label == "speech"


def test_worst_label_is_told_first() -> None:
    worse = LabelAccuracy("speech", 9, 9, Interval(0.9, 0.8, 1.0), Interval(0.03, 0.02, 0.04))
    int8 = Candidate(1000, 1.0, (*_candidate(1.0, 0.02).accuracy, worse))
    with pytest.raises(GateError, match=r"INT8 costs speech 0\.0300"):
        decide("int8", {"float32": _candidate(2.0, 0.0), "int8": int8})
