"""Where a share of some numbers lies below. Pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def quantile(values: ArrayLike, share: float) -> float:
    """The number that `share` (0..1) of `values` (n,), n > 0, stay below, interpolated; of one half, the median.

    `np.quantile` and `np.median` give the same up to rounding, and load numpy's masked arrays for it: 2 MB.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    return float(np.interp(share * (len(ordered) - 1), np.arange(len(ordered)), ordered))
