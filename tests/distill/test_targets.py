"""What training is told about each moment of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.corpora import Recording
from distill.targets import ABSENT, PRESENT, UNKNOWN, annotate, holds, to_steps

RATE = 16000
LABELS = ("cough", "breath", "speech")


def recording(event: str, *times: tuple[float, float]) -> Recording:
    return Recording(Path("a.wav"), "home", "ann", "train", "airborne", event, times)


def sound(*levels_db: tuple[float, float]) -> np.ndarray:
    """Noise in stretches of (seconds, dB)."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal(round(s * RATE)) * 10 ** (db / 20) for s, db in levels_db]).astype(
        np.float32
    )


def test_marked_cough_is_present_from_its_onset_open_to_its_offset_and_absent_elsewhere() -> None:
    targets = annotate(recording("cough", (0.5, 0.9)), sound((2, -30)), RATE, LABELS)
    assert targets.shape == (200, 3)
    assert (targets[50:74, 0] == PRESENT).all()
    assert (targets[74:90, 0] == UNKNOWN).all()
    assert (np.delete(targets[:, 0], np.s_[50:90]) == ABSENT).all()


def test_coughs_without_a_pause_get_a_valley_between_them() -> None:
    targets = annotate(recording("cough", (0.5, 0.9), (0.9, 1.3)), sound((2, -30)), RATE, LABELS)
    assert (targets[78:90, 0] == ABSENT).all()
    assert (targets[90:114, 0] == PRESENT).all()


def test_short_cough_before_another_keeps_its_beginning() -> None:
    targets = annotate(recording("cough", (0.5, 0.6), (0.61, 0.9)), sound((2, -30)), RATE, LABELS)
    assert (targets[50:61, 0] == PRESENT).all()
    assert (targets[61:85, 0] == PRESENT).all()


def test_unmarked_clip_is_present_where_loud_absent_where_quiet_unknown_between() -> None:
    targets = annotate(recording("cough"), sound((1, -10), (1, -30), (1, -80)), RATE, LABELS)
    assert (targets[5:95, 0] == PRESENT).all()
    assert (targets[105:195, 0] == UNKNOWN).all()
    assert (targets[205:295, 0] == ABSENT).all()


def test_speech_is_taught_of_a_clip_of_speech_and_a_glottal_pause_is_no_silence() -> None:
    sounds = [(0.2, -10.0), (0.02, -120.0)] * 5
    targets = annotate(recording("speech"), sound(*sounds, (1, -80)), RATE, LABELS)
    assert (targets[5:105, 2] == PRESENT).all()
    assert (targets[115:205, 2] == ABSENT).all()


def test_breath_clip_is_present_where_loud_absent_in_its_pauses_unknown_between() -> None:
    targets = annotate(recording("breath"), sound((1, -40), (0.5, -47), (0.5, -60)), RATE, LABELS)
    assert (targets[10:90, 1] == PRESENT).mean() > 0.7
    assert (targets[105:145, 1] == UNKNOWN).all()
    assert (targets[155:, 1] == ABSENT).all()
    assert (targets[:, [0, 2]] == ABSENT).all()


def test_steady_breath_clip_is_not_called_absent_of_breath() -> None:
    targets = annotate(recording("breath"), sound((2, -40)), RATE, LABELS)
    assert not (targets[:, 1] == ABSENT).any()


def test_noise_between_words_is_no_breath_but_a_breath_between_them_may_be() -> None:
    targets = annotate(recording("speech"), sound((1, -20), (0.72, -40), (0.28, -60)), RATE, LABELS)
    assert (targets[5:95, 1] == ABSENT).all()
    assert (targets[105:165, 1] == UNKNOWN).mean() > 0.9
    assert (targets[178:195, 1] == ABSENT).all()
    assert (targets[:, 0] == ABSENT).all()


def test_vowel_may_be_speech_but_is_no_breath() -> None:
    targets = annotate(recording("vowel"), sound((1, -20)), RATE, LABELS)
    assert (targets[:, 1] == ABSENT).all()
    assert (targets[:, 2] == UNKNOWN).all()


def test_other_sounds_hold_no_label() -> None:
    assert (annotate(recording("dog"), sound((1, -20)), RATE, LABELS) == ABSENT).all()


def test_nothing_is_taught_of_what_may_hide_in_a_sound() -> None:
    targets = annotate(recording("non_cough"), sound((1, -20)), RATE, LABELS)
    assert (targets[:, 0] == ABSENT).all()
    assert (targets[:, 1:] == UNKNOWN).all()


def test_breath_before_a_cough_is_left_open() -> None:
    targets = annotate(recording("cough", (0.5, 0.9)), sound((0.5, -40), (0.5, -20), (1, -70)), RATE, LABELS)
    assert (targets[5:50, 1] == UNKNOWN).all()
    assert (targets[50:90, 1] == ABSENT).all()


def test_targets_have_a_row_each_10_ms_at_any_rate() -> None:
    assert annotate(recording("cough", (0.5, 0.9)), np.ones(8000, dtype=np.float32), 4000, LABELS).shape == (200, 3)


def test_silent_clip_is_no_error() -> None:
    assert annotate(recording("cough"), np.zeros(1600, dtype=np.float32), RATE, LABELS).shape == (10, 3)


def test_nothing_is_taught_of_a_recording_that_nobody_labelled() -> None:
    assert (annotate(recording(""), sound((1, -20)), RATE, LABELS) == UNKNOWN).all()


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("cough", (True, False, False)),
        ("breath", (False, True, False)),
        ("rain", (False, False, False)),
        ("non_cough", (False, None, None)),
        ("", (None, None, None)),
    ],
)
def test_clip_holds_what_it_is_called_and_perhaps_what_may_hide_in_it(event: str, expected: tuple[bool | None]) -> None:
    assert tuple(holds(recording(event), label) for label in LABELS) == expected


def test_steps_follow_the_majority() -> None:
    frames = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [-1, -1, 0, 0], [-1, 0, 0, 0], [1, 1, -1, -1]], dtype=np.int8)
    assert to_steps(frames.reshape(-1, 1), 4).ravel().tolist() == [PRESENT, ABSENT, UNKNOWN, ABSENT, PRESENT]
