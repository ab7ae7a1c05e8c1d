import math

import numpy as np
import pytest
from scipy import stats

from edge.intervals import bootstrap_interval, poisson_interval, poisson_upper_of_none, wilson_interval


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 83, 562, 5000])
def test_poisson_interval_agrees_with_chi_square_quantiles(count: int, confidence: float) -> None:
    tail = (1 - confidence) / 2
    interval = poisson_interval(count, confidence)
    assert interval.low == pytest.approx(stats.chi2.ppf(tail, 2 * count) / 2 if count else 0.0, rel=1e-9)
    assert interval.high == pytest.approx(stats.chi2.ppf(1 - tail, 2 * count + 2) / 2, rel=1e-9)


def test_poisson_interval_of_nothing_ends_at_3_69() -> None:
    interval = poisson_interval(0)
    assert interval.low == 0.0
    assert round(interval.high, 2) == 3.69


def test_poisson_upper_of_none_is_the_rule_of_three() -> None:
    assert round(poisson_upper_of_none(), 1) == 3.0
    assert math.exp(-poisson_upper_of_none()) == pytest.approx(0.05)


@pytest.mark.parametrize(("hits", "trials"), [(0, 5), (5, 5), (1, 1), (3, 7), (900, 1000)])
def test_wilson_interval_agrees_with_scipy(hits: int, trials: int) -> None:
    expected = stats.binomtest(hits, trials).proportion_ci(0.95, "wilson")
    interval = wilson_interval(hits, trials)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def _share(sums: np.ndarray) -> np.ndarray:
    return sums[:, 0] / sums.sum(axis=1)


def test_bootstrap_interval_agrees_with_scipy() -> None:
    rng = np.random.default_rng(5)
    hits, misses = rng.poisson(8, 60), rng.poisson(2, 60)
    interval = bootstrap_interval(np.stack([hits, misses], axis=1), _share, resamples=5000)
    expected = stats.bootstrap(
        (hits, misses),
        lambda a, b, axis: a.sum(axis) / (a.sum(axis) + b.sum(axis)),
        paired=True,
        n_resamples=5000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    assert interval is not None
    assert interval.low == pytest.approx(expected.low, abs=0.004)
    assert interval.high == pytest.approx(expected.high, abs=0.004)


def test_bootstrap_interval_is_the_same_for_the_same_seed() -> None:
    table = np.random.default_rng(0).poisson(5, (50, 2))
    assert bootstrap_interval(table, _share, seed=1) == bootstrap_interval(table, _share, seed=1)
    assert bootstrap_interval(table, _share, seed=1) != bootstrap_interval(table, _share, seed=2)


def test_bootstrap_interval_of_alike_recordings_is_a_point() -> None:
    interval = bootstrap_interval(np.array([[3, 1]] * 8), _share)
    assert interval is not None
    assert (interval.low, interval.high) == (0.75, 0.75)


def test_bootstrap_interval_of_one_recording_is_none() -> None:
    assert bootstrap_interval(np.array([[3, 1]]), _share) is None
