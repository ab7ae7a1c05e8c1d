"""Agreement of breathing rates, against the plain formulas, and the octave that a bench fits without the person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.corpora import CorpusError, Recording
from bench.respiration import (
    Told,
    draw,
    envelope_rates,
    fit_octave,
    held_out_octaves,
    limits_of_agreement,
    lines,
    rates_of,
    spectra,
    told,
)
from edge.errors import UserError
from edge.respiration import LEAST_QUALITY, STEPS_PER_S, Spectrum


def _rates(quality: list[float], error: list[float]) -> Told:
    truth = np.full(len(error), 15.0)
    return Told(truth, truth + np.array(error), np.array(quality), [f"p{at // 2}" for at in range(len(error))])


def test_limits_are_those_of_one_way_analysis_of_variance() -> None:
    """Three people, two recordings each: variances within and between them, by hand."""
    error = np.array([1.0, 3.0, -2.0, 0.0, 4.0, 6.0])
    within = np.mean([2.0, 2.0, 2.0])  # sample variance of each pair
    between = 2 * np.var([2.0, -1.0, 5.0], ddof=1)  # mean square of the people's means
    deviation = np.sqrt(within + (between - within) / 2)
    low, high = limits_of_agreement(error, ["a", "a", "b", "b", "c", "c"])
    assert (low, high) == pytest.approx((2.0 - 1.96 * deviation, 2.0 + 1.96 * deviation))


def test_figures_of_what_the_device_gives_leave_out_what_it_is_unsure_of() -> None:
    sure, unsure = LEAST_QUALITY + 0.1, LEAST_QUALITY - 0.1
    rates = _rates([sure, sure, sure, unsure], [1.0, -1.0, 3.0, 9.0])
    text = "\n".join(lines("given", rates.sure(), 4))
    assert "coverage                75% (3 of 4)" in text
    assert "mean absolute error     1.667 [" in text
    assert "within 2 a minute       0.667 [" in text
    assert "bias                    1.000 [" in text


def test_rate_twice_the_breaths_is_halved_where_every_other_sound_differs() -> None:
    spectrum = Spectrum(rate_bpm=24.0, share=0.6, rival=0.1, alternation=4.0)
    both = told([spectrum, spectrum], np.array([12.0, 24.0]), ["a", "b"], [5.0, -5.0])
    assert both.rate.tolist() == [12.0, 24.0]


def test_octave_of_a_person_is_told_by_the_others() -> None:
    """Everybody alternates clearly at twice the rate, but for one, who does so at the rate itself."""
    truth = np.array([10.0] * 10 + [20.0] * 10)
    found = [Spectrum(20.0, 0.6, 0.1, 4.0 if at < 10 else 0.5) for at in range(20)]
    slope, middle = fit_octave(found, truth)
    assert slope > 0
    assert 0.5 < middle < 4.0
    odd = Spectrum(20.0, 0.6, 0.1, 4.0)
    groups = [f"p{at}" for at in range(20)] + ["odd"]
    assert held_out_octaves([*found, odd], np.append(truth, 20.0), groups)[-1] > 0


def test_strongest_period_of_the_envelope_is_half_a_breath() -> None:
    """In and out equally loud: what is tried first tells twice the rate."""
    time_s = np.arange(45 * STEPS_PER_S) / STEPS_PER_S
    level = np.abs(np.sin(np.pi * time_s * 12 / 60))[:, np.newaxis]
    assert envelope_rates([level])[0] == pytest.approx(12.0, abs=0.3)


def test_curve_is_drawn(tmp_path: Path) -> None:
    draw(_rates([0.9, 0.5, 0.3, 0.8], [0.5, 1.0, 6.0, 0.1]), 4.0, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("rate", ["", "abc", "nan", "0", "inf"])
def test_recording_without_a_rate_is_named(rate: str) -> None:
    row = Recording(Path("a.wav"), "rrujo", "ann", "test", "lung", "breath", metadata={"respiration_bpm": rate})
    with pytest.raises(CorpusError, match=r"table\.csv: respiration_bpm of a\.wav is '.*'; write breaths a minute"):
        rates_of([row], Path("table.csv"))


def test_silent_recording_is_named() -> None:
    row = Recording(Path("silence.wav"), "rrujo", "ann", "test", "lung", "breath")
    with pytest.raises(CorpusError, match=r"silence\.wav: is silent or too short"):
        spectra([np.zeros((450, 12))], [row])


def test_method_that_gives_nothing_has_no_figures() -> None:
    assert lines("none", _rates([], []), 3) == ["none", "  coverage                0% (0 of 3)"]


def test_plot_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        draw(_rates([0.9, 0.8], [1.0, 2.0]), 4.0, tmp_path / "none" / "plot.png")
