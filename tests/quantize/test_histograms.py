"""Ranges of activations, on tensors made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from quantize.calibration import Target, ranges_of
from quantize.histograms import BINS, Calibrator, Histogram, collect, entropy_bins


def _histogram(values: NDArray[np.float64]) -> Histogram:
    edges = np.linspace(0.0, np.abs(values).max(), BINS + 1)
    return Histogram(float(values.min()), float(values.max()), np.histogram(np.abs(values), edges)[0])


def _quantised(values: NDArray[np.float64], limit: float, levels: int = 128) -> NDArray[np.float64]:
    step = limit / (levels - 1)
    return np.clip(np.round(values / step), -(levels - 1), levels - 1) * step


@pytest.fixture(scope="module")
def long_tailed() -> NDArray[np.float64]:
    """Most values below 3, a few up to 100: what the extremes waste nearly all levels on."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.standard_normal(200_000), rng.uniform(50.0, 100.0, 5)])


def test_minmax_keeps_the_extremes(long_tailed: NDArray[np.float64]) -> None:
    found = _histogram(long_tailed).range("minmax", 128)
    assert found == (long_tailed.min(), long_tailed.max())


@pytest.mark.parametrize(
    ("calibrator", "least", "most"), [("percentile99.9", 0.999, 0.9995), ("percentile99.99", 0.9999, 0.99995)]
)
def test_percentile_keeps_that_share_of_values(
    calibrator: Calibrator, least: float, most: float, long_tailed: NDArray[np.float64]
) -> None:
    low, high = _histogram(long_tailed).range(calibrator, 128)
    inside = ((long_tailed >= low) & (long_tailed <= high)).mean()
    assert least <= inside < most


def test_range_ends_where_the_values_do(long_tailed: NDArray[np.float64]) -> None:
    low, high = _histogram(np.abs(long_tailed)).range("percentile99.9", 128)
    assert 0.0 <= low < 1e-3 < high


def test_entropy_finds_another_range_than_the_extremes_and_a_better_one(long_tailed: NDArray[np.float64]) -> None:
    histogram = _histogram(long_tailed)
    low, high = histogram.range("entropy", 128)
    limit = max(-low, high)
    assert limit < 0.5 * histogram.largest
    usual = long_tailed[:200_000]
    error = np.square(usual - _quantised(usual, limit)).mean()
    assert error < np.square(usual - _quantised(usual, histogram.largest)).mean()


@pytest.mark.parametrize(("target", "levels"), [("cpu", 256), ("jetson", 128)])
def test_what_is_never_negative_has_all_levels_where_they_are_unsigned(
    target: Target, levels: int, long_tailed: NDArray[np.float64]
) -> None:
    either, positive = _histogram(long_tailed), _histogram(np.abs(long_tailed))
    assert positive.range("entropy", 256) != positive.range("entropy", 128)
    assert ranges_of({"add": either, "relu": positive}, "entropy", target) == {
        "add": either.range("entropy", 128),
        "relu": positive.range("entropy", levels),
    }


def test_entropy_keeps_all_of_what_is_spread_evenly() -> None:
    assert entropy_bins(np.full(BINS, 100), 128) > 0.95 * BINS


def test_entropy_minds_no_zeros_which_any_range_keeps() -> None:
    counts = _histogram(np.random.default_rng(0).laplace(size=100_000)).counts
    cut_off = counts.copy()
    cut_off[0] += 1_000_000
    assert entropy_bins(cut_off, 128) == entropy_bins(counts, 128)


def test_tensor_of_zeros_has_a_range_of_zero() -> None:
    histogram = Histogram(0.0, 0.0, np.zeros(BINS, dtype=np.int64))
    assert histogram.range("entropy", 128) == histogram.range("percentile99.9", 128) == (0.0, 0.0)


def test_collect_counts_what_goes_in_and_out_of_an_operator(tmp_path: Path) -> None:
    shape = [1, 2, 3]
    graph = helper.make_graph(
        [helper.make_node("Neg", ["log_mel"], ["negative"]), helper.make_node("Relu", ["negative"], ["kept"])],
        "tiny",
        [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("kept", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(tmp_path / "tiny.onnx"))
    given = np.array([[[-4.0, 1.0, 2.0], [0.0, 0.5, 5.0]], [[-1.0, 0.0, 0.0], [1.0, 1.0, 2.0]]], dtype=np.float32)
    found = collect(tmp_path / "tiny.onnx", ["Relu"], given)
    assert set(found) == {"negative", "kept"}
    assert (found["negative"].lowest, found["negative"].highest) == (-5.0, 4.0)
    assert found["negative"].counts[-1] == 1
    assert (found["kept"].lowest, found["kept"].highest) == (0.0, 4.0)
    assert found["kept"].counts.sum() == 12
    assert found["kept"].counts[0] == 10
