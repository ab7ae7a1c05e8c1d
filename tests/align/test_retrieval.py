"""Ranks and recall of reports, against a slow count."""

from __future__ import annotations

import numpy as np
import pytest

from align.retrieval import distinct, ranks, recall, similarities


def slow_rank(row: list[float], own: int) -> float:
    """Mean over the places that the own report can take among those that tie with it."""
    above = sum(score > row[own] for score in row)
    ties = sum(score == row[own] for score in row)
    return float(np.mean([above + place for place in range(1, ties + 1)]))


@pytest.mark.parametrize("levels", [3, 1000])
def test_ranks_are_those_of_a_slow_count_with_and_without_ties(levels: int) -> None:
    rng = np.random.default_rng(levels)
    similarity = (rng.integers(levels, size=(50, 23)) / levels).astype(np.float32)
    own = rng.integers(23, size=50).tolist()
    expected = [slow_rank(row, column) for row, column in zip(similarity.tolist(), own, strict=True)]
    np.testing.assert_array_equal(ranks(similarity, own), expected)


def test_recall_counts_the_reports_among_the_nearest() -> None:
    similarity = np.tile(np.linspace(1, 0, 20, dtype=np.float32), (4, 1))
    found = recall(similarity, [0, 3, 4, 12])
    assert found.at == {1: 0.25, 5: 0.75, 10: 0.75}
    assert found.median_rank == 4.5
    assert found.reports == 20
    assert found.chance == {1: 0.05, 5: 0.25, 10: 0.5}


def test_chance_is_what_random_similarities_give() -> None:
    rng = np.random.default_rng(0)
    found = recall(rng.normal(size=(5000, 40)).astype(np.float32), rng.integers(40, size=5000).tolist())
    for cut, share in found.chance.items():
        assert found.at[cut] == pytest.approx(share, abs=0.025)


def test_chance_of_fewer_reports_than_a_cut_is_certainty() -> None:
    assert recall(np.eye(4, dtype=np.float32), [0, 1, 2, 3]).chance == {1: 0.25, 5: 1.0, 10: 1.0}


def test_similarities_that_say_nothing_find_nothing() -> None:
    """All tie: the own report is in the middle, not at the top."""
    found = recall(np.zeros((3, 21), np.float32), [0, 5, 20])
    assert found.median_rank == 11
    assert found.at == {1: 0.0, 5: 0.0, 10: 0.0}


def test_similarity_that_is_not_finite_is_refused_and_finds_nothing() -> None:
    similarity = np.eye(3, dtype=np.float32)
    similarity[1] = np.nan
    with pytest.raises(ValueError, match="a similarity is not finite"):
        recall(similarity, [0, 1, 2])


def test_similarities_are_cosines_and_a_zero_vector_is_like_nothing() -> None:
    audio = np.array([[3, 0], [0, 0], [1, 1]], np.float32)
    text = np.array([[0.5, 0], [0, -2]], np.float32)
    expected = np.array([[1, 0], [0, 0], [0.5**0.5, -(0.5**0.5)]])
    np.testing.assert_allclose(similarities(audio, text), expected, atol=1e-6)


def test_distinct_texts_are_numbered_in_order_of_their_first_place() -> None:
    first, own = distinct(["b", "a", "b", "c", "a"])
    assert first == [0, 1, 3]
    assert own == [0, 1, 0, 2, 1]
