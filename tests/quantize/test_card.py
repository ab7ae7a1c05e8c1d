"""What the card says of figures made by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from align.statistics import Interval
from edge.bundle import Corpus, OperatingPoint
from edge.marks import Recording
from edge.scoring import score
from quantize.card import auroc_table, events_section, failures, limitations, operating_points, precision, training
from quantize.failures import Failures, Wrong
from quantize.gate import Candidate, Verdict
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, OutputError
from quantize.results import Calibration
from quantize.scarce import HeldOut, LeftOut
from quantize.selection import Selection, Way

POINT = OperatingPoint(on=0.6, off=0.3, minimum_duration_s=0.08, merge_gap_s=0.04, refractory_s=0.16, split_depth=0.15)
CURVE = ((0.5, 0.9, 0.4), (0.6, 0.8, 0.7))
CHOICE = Choice("cough", POINT, "event F1", "3 recordings", 0.7, ("on", "sensitivity", "PPV"), CURVE)


NO_DROP, DROP = Interval(0.0, 0.0, 0.0), Interval(0.002, -0.001, 0.004)
ERROR = OutputError(9, 0.05, 0.1, cosine_mean=0.999, cosine_min=0.99, sqnr_db=30.0, cka=0.98)
WAY = Way("entropy", 7, ("last",), 31.0, 0.998, 0.003, "cough")


def _accuracy(label: str, positives: int, value: float, drop: Interval) -> LabelAccuracy:
    return LabelAccuracy(label, positives, 300, Interval(value, 0.8, 0.99), drop)


def _results(**changes: Any) -> Any:
    """Of two labels of an encoder that ships in INT8."""
    candidates = {
        form: Candidate(size, 1.0, (_accuracy("cough", 60, value, drop), _accuracy("breath", 20, value, drop)), error)
        for form, size, value, drop, error in (("float32", 2000, 0.95, NO_DROP, None), ("int8", 1000, 0.9, DROP, ERROR))
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


def test_precision_tells_what_int8_costs() -> None:
    text = precision(
        _results(selection=Selection(WAY, (WAY,), ()), calibration=Calibration(300, 4, "abc"), target="cpu")
    )
    assert "| entropy | 7 | last | 31.0 | 0.9980 | +0.0030 (cough) |" in text
    assert "over 9 test windows: scores differ by at most 0.050" in text
    assert "cosine 0.9990 (least 0.9900), SQNR 30.0 dB, linear CKA 0.9800" in text
    assert "AUROC below float32's: cough +0.0020, breath +0.0020." in text
    assert "hardware" not in text


def test_training_names_its_recordings_and_what_no_detector_ships_for() -> None:
    corpora = [Corpus(name="own", licence="CC0-1.0", source="https://example.org", recordings=5)]
    text = training(
        _results(
            manifest=SimpleNamespace(corpora=corpora, created="2026-01-01T00:00:00Z"),
            recordings={"train": 5, "validation": 2, "test": 3},
            left_out=[LeftOut("sneezing", 4, 3)],
            never_labels=[HeldOut("laughing", 3, 3), HeldOut("dog", 90, 80)],
            checkpoint=SimpleNamespace(sha256="abc"),
        )
    )
    assert "| own | 5 | CC0-1.0 | https://example.org |" in text
    assert "5 to train on, 2 to validate, 3 to test" in text
    assert "- sneezing: 4 held-out recordings from 3 sources" in text
    assert "heard as what is none of the labels: laughing 3." in text
    assert "heard as what is none of them: dog 90." in text


def test_weak_figures_and_labels_without_marked_times_are_named() -> None:
    text = limitations(_results())
    assert "- breath: only 20 test clips hold it" in text
    assert "cough: only" not in text
    assert "- cough: no recording has marked times" in text
    marked = limitations(_results(events={"cough": score([Recording("a", (1.0,), (1.0,))])}))
    assert "no recording has marked times" not in marked
