"""How long a window takes on one core: all graphs in one run, so that a busy machine slows them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

Name = TypeVar("Name", bound=str)

WARM_UP, ROUNDS = 20, 200


def graphs_ms(
    graphs: Mapping[Name, Path], inputs: Mapping[Name, NDArray[np.float32]], *, rounds: int = ROUNDS
) -> dict[Name, float]:
    """Median milliseconds of one run of each graph, with one thread.

    The graphs take turns; the first rounds are not counted.

    Args:
        graphs: ONNX files with one input.
        inputs: of each, (n, ...) without the batch axis, used in turn.
        rounds: runs of each that are counted.
    """
    sessions = {name: _session(path) for name, path in graphs.items()}
    feeds = {name: sessions[name].get_inputs()[0].name for name in graphs}
    taken: dict[Name, list[float]] = {name: [] for name in graphs}
    for turn in range(WARM_UP + rounds):
        for name, session in sessions.items():
            given = inputs[name][turn % len(inputs[name])][np.newaxis]
            start = time.perf_counter()
            session.run(None, {feeds[name]: given})
            if turn >= WARM_UP:
                taken[name].append(time.perf_counter() - start)
    return {name: 1e3 * statistics.median(values) for name, values in taken.items()}


def _session(path: Path) -> ort.InferenceSession:
    """As the device opens it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
