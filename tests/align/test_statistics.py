"""AUROC and bootstrap against values that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from align.statistics import auroc, auroc_difference, auroc_interval, bootstrap, clip_scores


def test_auroc_counts_pairs_and_halves_ties() -> None:
    # Pairs (positive, negative): 3>1, 3>2, 2>1, 2=2 -> 3.5 of 4.
    assert auroc([1, 1, 0, 0], [3, 2, 1, 2]) == pytest.approx(0.875)


def test_auroc_is_that_of_scikit_learn_with_and_without_ties() -> None:
    rng = np.random.default_rng(3)
    for digits in (1, 2, 12):
        truth = rng.random(300) < 0.2
        scores = np.round(rng.standard_normal(300) + truth, digits)
        assert auroc(truth, scores) == pytest.approx(roc_auc_score(truth, scores), abs=1e-12)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0]])
def test_auroc_needs_both_classes(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="positives and negatives"):
        auroc(labels, [0.1, 0.2])


def test_auroc_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not finite"):
        auroc([0, 1], [0.1, float("nan")])


def test_clip_score_is_the_mean_of_the_highest_second() -> None:
    track = np.zeros((40, 2), dtype=np.float32)
    track[[3, 17, 30], 0] = 0.9
    track[20:35, 1] = 0.8
    np.testing.assert_allclose(clip_scores(track, 10.0), [0.27, 0.8], rtol=1e-6)


def test_clip_shorter_than_a_second_is_scored_whole() -> None:
    assert clip_scores(np.array([[0.2], [0.4]], dtype=np.float32), 25.0) == pytest.approx([0.3])


def test_bootstrap_draws_groups_and_not_rows() -> None:
    # Two persons, each with equal values throughout: every resample's mean is one of three.
    values = np.array([0.0] * 50 + [1.0] * 50)
    seen = set()

    def mean(rows: np.ndarray) -> float:
        seen.add(round(float(values[rows].mean()), 6))
        return float(values[rows].mean())

    interval = bootstrap(mean, ["ann"] * 50 + ["ben"] * 50, rounds=200)
    assert seen == {0.0, 0.5, 1.0}
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)


def test_bootstrap_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(2, size=80), rng.random(80)
    groups = [f"person-{index % 20}" for index in range(80)]
    assert auroc_interval(labels, scores, groups, rounds=100) == auroc_interval(labels, scores, groups, rounds=100)


def test_difference_of_a_score_with_itself_is_zero() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(2, size=60), rng.random(60)
    difference = auroc_difference(labels, scores, scores, [str(index) for index in range(60)], rounds=100)
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_bootstrap_says_when_there_are_too_few_groups() -> None:
    def needs_everybody(rows: np.ndarray) -> float:
        if len(set(rows.tolist())) < 6:
            raise ValueError("undefined")
        return 1.0

    with pytest.raises(ValueError, match="too few groups"):
        bootstrap(needs_everybody, list("abcdef"), rounds=200)
