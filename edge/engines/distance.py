"""How far an engine's outputs are from golden ones: one number for device, exporter and build script."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distance(actual: NDArray[np.float32], golden: NDArray[np.float32]) -> float:
    """Norm of the difference over norm of the golden values: 0.1 is a signal-to-noise ratio of 20 dB. NaN stays NaN.

    Not the largest difference: in INT8 a value that falls on the other side of a rounding step moves single scores far,
    while an engine that computes something else moves most of them.
    """
    error = np.linalg.norm(actual.astype(np.float64) - golden)
    return float(error / max(float(np.linalg.norm(golden)), 1e-9))
