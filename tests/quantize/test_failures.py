"""What the card says of failures, on tracks made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.corpora import Recording
from edge.bundle import OperatingPoint
from quantize.failures import SHOWN, Failure, Trigger, Wrong, find_failures
from quantize.operating_points import Choice
from quantize.recordings import LabelledClip

POINT = OperatingPoint(on=0.5, off=0.3, minimum_duration_s=0.04, merge_gap_s=0.0, refractory_s=0.0, split_depth=0.0)
CHOICES = [Choice(label, POINT, "", "", 1.0, (), ()) for label in ("cough", "speech")]


def _clip(name: str, event: str) -> LabelledClip:
    row = Recording(Path(f"{name}.wav"), "own", name, "test", "airborne", event)
    holds = tuple(
        None if event == "laughing" and label == "speech" else event == label for label in ("cough", "speech")
    )
    return LabelledClip(row, np.zeros(8, np.float32), 1.0, holds)


def _track(cough: float, speech: float = 0.0) -> NDArray[np.float32]:
    return np.tile(np.array([[cough, speech]], np.float32), (100, 1))


def test_false_alarms_and_misses_are_named_the_worst_first() -> None:
    clips = [_clip("a", "cough"), _clip("b", "cough"), _clip("c", "dog"), _clip("d", "rain"), _clip("e", "cough")]
    tracks = [_track(0.9), _track(0.2), _track(0.6), _track(0.8), _track(0.1)]
    found = find_failures(CHOICES, clips, tracks, 100.0)
    assert [(one.kind, one.event, one.recording) for one in found.worst] == [
        ("false alarm", "rain", "own/d.wav"),
        ("false alarm", "dog", "own/c.wav"),
        ("miss", "cough", "own/e.wav"),
        ("miss", "cough", "own/b.wav"),
    ]
    assert found.worst[0] == Failure("cough", "false alarm", "rain", "own/d.wav", float(np.float32(0.8)))


def test_what_is_not_known_is_no_failure() -> None:
    found = find_failures(CHOICES, [_clip("a", "laughing")], [_track(0.0, 0.9)], 100.0)
    assert found.worst == ()
    assert found.counts == (Wrong("cough", 0, 1, 0, 0), Wrong("speech", 0, 0, 0, 0))
    assert found.triggers == (Trigger("laughing", 1, (0, 1)),)


def test_sounds_that_are_no_labels_are_counted_by_what_they_set_off() -> None:
    clips = [_clip("a", "dog"), _clip("b", "dog"), _clip("c", "rain"), _clip("d", "cough"), _clip("e", "saw")]
    tracks = [_track(0.9, 0.9), _track(0.9), _track(0.1), _track(0.9), _track(0.0, 0.6)]
    found = find_failures(CHOICES, clips, tracks, 100.0)
    assert found.triggers == (Trigger("dog", 2, (2, 1)), Trigger("saw", 1, (0, 1)))
    assert found.silent == 1


def test_at_most_ten_of_a_kind_are_named_and_all_are_counted() -> None:
    clips = [_clip(f"{number}", "dog") for number in range(15)] + [_clip("a", "cough"), _clip("b", "cough")]
    found = find_failures(CHOICES, clips, [_track(0.9)] * 16 + [_track(0.0)], 100.0)
    assert [one.kind for one in found.worst] == ["false alarm"] * SHOWN + ["miss"]
    assert found.counts[0] == Wrong("cough", false_alarms=15, without=15, misses=1, holding=2)
