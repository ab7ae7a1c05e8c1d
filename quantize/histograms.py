"""Ranges of activations: a histogram of each tensor over the calibration windows, and four ways to read it.

onnxruntime's entropy calibrator has as many bins as levels, so that its search finds the extremes whatever it is given
(onnxruntime#9597). Here are 2048 bins; the ranges found are handed to onnxruntime, which places the Q/DQ pairs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

BINS = 2048
STRIDE = 16
"""Bins between two ranges that the entropy search tries."""

Calibrator = Literal["minmax", "entropy", "percentile99.99", "percentile99.9"]
CALIBRATORS: tuple[Calibrator, ...] = ("minmax", "entropy", "percentile99.99", "percentile99.9")
SHARES: Mapping[str, float] = {"percentile99.99": 0.9999, "percentile99.9": 0.999}

Range = tuple[float, float]


@dataclass(frozen=True)
class Histogram:
    """One tensor: its extremes, and how often its magnitude fell into each of BINS equal bins from 0 to the largest."""

    lowest: float
    highest: float
    counts: NDArray[np.int64]

    @property
    def largest(self) -> float:
        """Largest magnitude."""
        return max(abs(self.lowest), abs(self.highest))

    def range(self, calibrator: Calibrator, levels: int) -> Range:
        """Lowest and highest value that keep their own level; `levels` is how many a magnitude may take."""
        if calibrator == "minmax" or self.largest == 0.0:
            return self.lowest, self.highest
        if calibrator == "entropy":
            bins = entropy_bins(self.counts, levels)
        else:
            bins = int(np.searchsorted(np.cumsum(self.counts), SHARES[calibrator] * self.counts.sum())) + 1
        limit = min(bins, BINS) / BINS * self.largest
        return max(self.lowest, -limit), min(self.highest, limit)


def entropy_bins(counts: NDArray[np.int64], levels: int) -> int:
    """How many bins to keep so that the histogram loses least when it is told with `levels` numbers.

    Least Kullback-Leibler divergence of the kept histogram, what lies beyond it in its last bin, from its quantised
    form (S. Migacz, 8-bit inference with TensorRT, GTC 2017). The first bin counts as much as the second: after a ReLU
    it holds mostly zeros, which any range keeps.
    """
    known = counts.astype(np.float64)
    known[0] = known[1]
    best, least = len(known), np.inf
    for kept in range(levels, len(known) + 1, STRIDE):
        reference = known[:kept].copy()
        reference[-1] += known[kept:].sum()
        level = np.arange(kept) * levels // kept
        inside = known[:kept]
        filled = np.bincount(level, weights=inside > 0, minlength=levels)
        mass = np.bincount(level, weights=inside, minlength=levels)
        candidate = np.where(inside > 0, (mass / np.maximum(filled, 1.0))[level], 0.0)
        if not reference.sum() or not candidate.sum():
            continue
        p, q = reference / reference.sum(), candidate / candidate.sum()
        # Where only the clipped mass lies the quantised form has nothing: a tiny mass keeps the divergence finite.
        shown = p > 0
        divergence = float(np.sum(p[shown] * np.log(p[shown] / np.maximum(q[shown], 1e-9))))
        if divergence < least:
            best, least = kept, divergence
    return best


def collect(path: Path, operators: Sequence[str], log_mels: NDArray[np.float32]) -> dict[str, Histogram]:
    """Run a float32 encoder on log-mels (n, mel, frames) and count what goes in and out of the named operators.

    Two passes, the first for the extremes; nothing but the counts is kept, so memory does not grow with the windows.
    """
    session, names = _opened_up(path, operators)
    lowest, highest = dict.fromkeys(names, np.inf), dict.fromkeys(names, -np.inf)
    for given in log_mels:
        for name, values in zip(names, session.run(names, {"log_mel": given[np.newaxis]}), strict=True):
            lowest[name] = min(lowest[name], float(values.min()))
            highest[name] = max(highest[name], float(values.max()))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in names}
    steps = {name: BINS / max(abs(lowest[name]), abs(highest[name]), 1e-12) for name in names}
    for given in log_mels:
        for name, values in zip(names, session.run(names, {"log_mel": given[np.newaxis]}), strict=True):
            bins = np.minimum((np.abs(values) * np.float32(steps[name])).astype(np.int32), BINS - 1)
            counts[name] += np.bincount(bins.ravel(), minlength=BINS)
    return {name: Histogram(lowest[name], highest[name], counts[name]) for name in names}


def _opened_up(path: Path, operators: Sequence[str]) -> tuple[ort.InferenceSession, list[str]]:
    """A session whose outputs are the tensors around the operators, and their names."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    constant = {tensor.name for tensor in model.graph.initializer}
    names = {name for node in model.graph.node if node.op_type in operators for name in (*node.input, *node.output)}
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    names = {name for name in names - constant if name in known and _is_float(known[name])}
    declared = {value.name for value in model.graph.output}
    model.graph.output.extend(known[name] for name in sorted(names - declared))
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session, sorted(names)


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)
