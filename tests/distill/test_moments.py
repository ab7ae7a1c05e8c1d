"""The targets of a view are those of its piece of the recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from align.clips import Clips
from align.corpora import Recording
from distill.moments import Moments, of_windows
from distill.targets import ABSENT, PRESENT, UNKNOWN
from edge.manifest import FrontEnd

RATE = 16000
LENGTH = 2 * RATE


def moments_of(onset_s: float) -> Moments:
    """A recording of 4 s with a marked cough of 0.24 s."""
    times = ((onset_s, onset_s + 0.24),)
    row = Recording(Path("a.wav"), "c", "p", "train", "airborne", "cough", times_s=times)
    samples = np.random.default_rng(0).integers(-3000, 3000, 4 * RATE).astype(np.int16)
    return Moments(Clips([row], ["a.wav"], [samples], []), ("cough",), FrontEnd(), LENGTH)


def steps_of(moments: Moments, start_s: float) -> list[int]:
    """The steps with a cough in the view that begins there."""
    return np.flatnonzero(moments.of_view(0, round(start_s * RATE))[:, 0] == PRESENT).tolist()


@pytest.mark.parametrize(("start_s", "first_step"), [(2.0, 25), (2.6, 10), (3.0, 0)])
def test_an_event_is_where_the_view_hears_it(start_s: float, first_step: int) -> None:
    moments = moments_of(3.0)
    assert moments.of_view(0, 0).shape == (50, 1)
    assert steps_of(moments, start_s) == list(range(first_step, first_step + 6))


def test_a_view_that_comes_round_takes_its_targets_round() -> None:
    assert steps_of(moments_of(0.4), 3.8) == list(range(15, 21))
    assert steps_of(moments_of(3.0), 3.8) == []


def test_without_events_there_is_nothing_to_know() -> None:
    row = Recording(Path("a.wav"), "c", "p", "train", "heart", "heart")
    clips = Clips([row], ["a.wav"], [np.zeros(4 * RATE, np.int16)], [])
    assert Moments(clips, (), FrontEnd(), LENGTH).of_view(0, 100).shape == (50, 0)


def test_a_window_holds_what_a_step_holds_and_is_unsure_where_steps_are() -> None:
    steps = torch.tensor([[[PRESENT], [UNKNOWN]], [[ABSENT], [UNKNOWN]], [[ABSENT], [ABSENT]]], dtype=torch.int8)
    assert of_windows(steps)[:, 0].tolist() == [PRESENT, UNKNOWN, ABSENT]
