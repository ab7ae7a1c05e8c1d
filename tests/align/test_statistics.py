"""AUROC and bootstrap against values that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from align.statistics import Interval, auroc, auroc_difference, auroc_interval, bootstrap, clip_scores


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
    # Two persons with as many rows each, of mean 0.25 and 1: every resample's mean is one of three.
    values = np.array([0.0] * 30 + [1.0] * 10 + [1.0] * 40)
    seen = set()

    def mean(rows: np.ndarray) -> float:
        seen.add(round(float(values[rows].mean()), 6))
        return float(values[rows].mean())

    interval = bootstrap(mean, ["ann"] * 40 + ["ben"] * 40, rounds=200)
    assert seen == {0.25, 0.625, 1.0}
    assert interval == Interval(0.625, 0.25, 1.0)


def test_bootstrap_of_a_mean_is_the_95_percent_interval_of_theory() -> None:
    values = np.random.default_rng(1).standard_normal(100)
    interval = bootstrap(lambda rows: float(values[rows].mean()), [str(index) for index in range(100)])
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.05)


def test_interval_is_written_as_value_low_and_high() -> None:
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


def test_bootstrap_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(2, size=80), rng.random(80)
    groups = [f"person-{index % 20}" for index in range(80)]
    assert auroc_interval(labels, scores, groups, rounds=100) == auroc_interval(labels, scores, groups, rounds=100)


def test_recordings_of_one_person_do_not_make_an_interval_narrower() -> None:
    rng = np.random.default_rng(0)
    labels, first, second = rng.integers(2, size=40), rng.random(40), rng.random(40)
    people = [f"person-{index}" for index in range(40)]
    five = [np.repeat(each, 5) for each in (labels, first, second)]
    theirs = list(np.repeat(people, 5))
    assert auroc_interval(labels, first, people) == auroc_interval(*five[:2], theirs)
    assert auroc_difference(labels, first, second, people) == auroc_difference(*five, theirs)


def test_difference_is_above_zero_where_the_first_is_better() -> None:
    labels, better, worse = [1, 1, 0, 0], [0.9, 0.8, 0.2, 0.1], [0.9, 0.3, 0.4, 0.1]
    assert auroc_difference(labels, better, worse, list("abcd"), rounds=50).value == pytest.approx(0.25)


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
