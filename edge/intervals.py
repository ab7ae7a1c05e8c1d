"""Intervals for counts and proportions, without scipy, so that the device can print an honest figure too.

Exact Poisson (Garwood), Wilson, and the percentile bootstrap over recordings. Nothing here knows what is counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """A two-sided interval."""

    low: float
    high: float


def poisson_interval(count: int, confidence: float = 0.95) -> Interval:
    """Return the exact (Garwood 1936) interval of a Poisson mean from one observed count.

    The bounds are the means under which `count` or more, and `count` or fewer, are just not surprising; they equal the
    chi-square quantiles that are often printed, q(a/2; 2k)/2 and q(1 - a/2; 2k + 2)/2.
    """
    tail = (1.0 - confidence) / 2.0
    low = _poisson_mean(count - 1, 1.0 - tail) if count else 0.0
    return Interval(low, _poisson_mean(count, tail))


def poisson_upper_of_none(confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of a Poisson mean when nothing was seen: 3.0 for 95 % (the rule of three)."""
    return -math.log(1.0 - confidence)


def wilson_interval(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's (1927) interval of a proportion; `trials` is at least 1."""
    z2 = NormalDist().inv_cdf(0.5 + confidence / 2.0) ** 2
    centre = hits + z2 / 2.0
    spread = math.sqrt(z2 * (hits * (trials - hits) / trials + z2 / 4.0))
    return Interval(max(0.0, (centre - spread) / (trials + z2)), min(1.0, (centre + spread) / (trials + z2)))


def bootstrap_interval(
    table: NDArray[np.int64],
    measure: Callable[[NDArray[np.int64]], NDArray[np.float64]],
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """Return the percentile interval of a measure of column sums when whole recordings are drawn again.

    Events of one recording resemble each other and false alarms come in clusters, so recordings are drawn, not events.

    Args:
        table: counts, shape (recordings, columns); a row may also be a person whose recordings belong together.
        measure: takes column sums of shape (resamples, columns), returns (resamples,), nan where it is undefined.
        resamples: number of draws.
        confidence: two-sided coverage.
        seed: of the random generator; the same seed gives the same interval.

    Returns:
        The interval, or None when fewer than two recordings, or no draw with a defined measure, leave nothing to say.
    """
    rows = len(table)
    if rows < 2:
        return None
    draws = np.random.default_rng(seed).multinomial(rows, np.full(rows, 1.0 / rows), size=resamples)
    values = measure(draws @ table)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(values, (tail, 1.0 - tail))
    return Interval(float(low), float(high))


def _poisson_mean(count: int, probability: float) -> float:
    """Return the mean at which `count` or fewer events have the given probability.

    The distribution function falls steadily as the mean grows, so bisection cannot fail; its terms are summed from
    their logarithms, so that neither many events nor tiny terms overflow.
    """
    k = np.arange(count + 1)
    log_factorials = np.cumsum(np.log(np.maximum(k, 1)))

    def cumulative(mean: float) -> float:
        return float(np.exp(k * math.log(mean) - mean - log_factorials).sum())

    low, high = 0.0, count + 1.0
    while cumulative(high) > probability:
        low, high = high, 2.0 * high
    while low < (middle := (low + high) / 2.0) < high:
        if cumulative(middle) > probability:
            low = middle
        else:
            high = middle
    return high
