"""Heads give probabilities: among whom they were fitted, and after calibration among others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from align.corpora import CorpusError
from align.tasks import Examples
from distill.finishing import put_heads
from distill.heads import HOTTEST, Head, calibrate, calibration_error, fit_head, temperature
from distill.student import Student, StudentShape


def units(count: int, share: float, seed: int, separation: float = 1.5) -> Examples:
    """Embeddings of 4 numbers of which the first tells yes from no, each of another person."""
    rng = np.random.default_rng(seed)
    answers = rng.random(count) < share
    features = rng.standard_normal((count, 4)).astype(np.float32) * 3.0 + 50.0
    features[:, 0] += np.where(answers, separation, -separation) * 3.0
    return Examples(features, answers, tuple(f"p{n}" for n in range(count)))


def probabilities(head: Head, of: Examples) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-head.logits(of.features))))


def test_a_head_is_right_about_how_many_have_the_answer() -> None:
    """Its fit weighs both answers alike; its probabilities must not."""
    train, others = units(800, 0.15, 0), units(4000, 0.15, 1)
    given = probabilities(fit_head(train), others)
    assert given.mean() == pytest.approx(others.answers.mean(), abs=0.04)


def test_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, 20000)
    answers = rng.random(20000) < 1 / (1 + np.exp(-logits))
    assert temperature(3.0 * logits, answers) == pytest.approx(3.0, rel=0.05)
    assert temperature(0.5 * logits, answers) == pytest.approx(0.5, rel=0.05)


def test_calibration_keeps_the_order_and_mends_overconfidence() -> None:
    train, held_out = units(400, 0.3, 0, separation=0.5), units(2000, 0.3, 1, separation=0.5)
    sure = fit_head(train).at(0.2)
    mended = calibrate(sure, held_out)
    assert mended.temperature == pytest.approx(1.0, rel=0.3)
    assert np.array_equal(np.argsort(sure.logits(held_out.features)), np.argsort(mended.logits(held_out.features)))
    before, after = (calibration_error(probabilities(head, held_out), held_out.answers) for head in (sure, mended))
    assert after < before / 2


def test_one_sided_held_out_people_change_nothing() -> None:
    head = Head(np.ones(4), 0.0)
    only_no = Examples(np.ones((3, 4), np.float32), np.zeros(3, bool), ("a", "b", "c"))
    assert calibrate(head, only_no) is head


def test_answers_that_logits_do_not_tell_get_the_highest_temperature() -> None:
    logits = np.array([5.0, -5.0] * 50)
    assert temperature(logits, np.array([False, True] * 50)) == pytest.approx(HOTTEST, rel=0.01)


def test_heads_become_the_last_labels_of_a_student() -> None:
    student = Student(StudentShape(labels=3, clip_labels=2, width=16, context_blocks=0, embedding_size=4))
    event = student.window_head.bias[0].item()
    heads = [Head(np.array([1.0, 2.0, 3.0, 4.0]), 5.0), Head(np.array([0.0, 0.0, 0.0, -1.0]), -2.0)]
    put_heads(student, heads)
    embeddings = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    logits = student.window_head(torch.from_numpy(embeddings)).detach().numpy()
    for column, head in enumerate(heads, start=1):
        assert np.allclose(logits[:, column], head.logits(embeddings), atol=1e-5)
    assert student.window_head.bias[0].item() == event


def test_too_few_people_are_told() -> None:
    with pytest.raises(CorpusError, match="a probe needs 5 training people"):
        fit_head(units(30, 0.0, 0))


def test_calibration_error_is_the_gap_in_each_bin() -> None:
    given = np.array([1.0, 0.9, 0.95, 0.95, 0.15, 0.15])
    answers = np.array([False, True, True, True, False, False])
    assert calibration_error(given, answers) == pytest.approx(4 / 6 * (0.95 - 0.75) + 2 / 6 * 0.15)
