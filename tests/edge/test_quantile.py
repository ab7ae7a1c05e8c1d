from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.quantile import quantile

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


@given(NUMBERS, st.floats(0, 1))
def test_quantile_is_that_of_numpy(values: list[float], share: float) -> None:
    assert quantile(values, share) == pytest.approx(float(np.quantile(values, share)), rel=1e-9, abs=1e-6)


@given(NUMBERS)
def test_half_is_the_median(values: list[float]) -> None:
    assert quantile(np.array(values), 0.5) == pytest.approx(float(np.median(values)), rel=1e-9, abs=1e-6)
