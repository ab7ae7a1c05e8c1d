"""INT8 for CPUs: training windows, their log-mels, and static Q/DQ by onnxruntime.quantization.

uint8 activations and int8 weights per output channel is what ONNX Runtime's CPU kernels fuse (all convolutions, against
a third of them with int8 activations). Weights use seven bits: a CPU without VNNI adds pairs of products in 16 bits,
which overflow with eight, and a bundle may meet such a CPU wherever it was made. On one, seven bits were the better.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from align.audio import load
from align.corpora import Recording
from distill.frontend import LogMel
from edge.bundle import FrontEnd
from quantize.graph import check_graph

QUANTISED = ("Conv", "Add", "Relu")
"""Sigmoid, mean and the reshapes around them stay float: they are a thousandth of the work and span wide ranges."""


@dataclass(frozen=True)
class CalibrationSet:
    """Windows (n, window_samples) of training recordings, where they come from, and how evenly they were drawn."""

    windows: NDArray[np.float32]
    index_sha256: str
    """Of the list of (corpus, file, first sample)."""
    strata: int
    """Pairs of corpus and event that they were drawn from in turn."""


def draw_windows(
    recordings: Sequence[Recording], count: int, window_samples: int, sample_rate_hz: int, seed: int = 0
) -> CalibrationSet:
    """Draw windows, every pair of corpus and event in turn, so that a large corpus does not set the ranges alone.

    A recording shorter than a window lies in silence at a random place, as at the start or end of a stream.
    """
    rng = np.random.default_rng(seed)
    strata: dict[tuple[str, str], list[Recording]] = defaultdict(list)
    for recording in sorted(recordings, key=lambda row: (row.corpus, row.event, row.path.name)):
        strata[recording.corpus, recording.event].append(recording)
    queues = [[members[place] for place in rng.permutation(len(members))] for members in strata.values()]
    windows = np.zeros((count, window_samples), dtype=np.float32)
    index = hashlib.sha256()
    for row in range(count):
        queue = queues[row % len(queues)]
        recording = queue[row // len(queues) % len(queue)]
        samples = load(recording.path, sample_rate_hz)
        first = int(rng.integers(min(0, len(samples) - window_samples), max(1, len(samples) - window_samples + 1)))
        heard = samples[max(0, first) : first + window_samples]
        windows[row, max(0, -first) : max(0, -first) + len(heard)] = heard
        index.update(f"{recording.corpus}/{recording.path.name}@{first}\n".encode())
    return CalibrationSet(windows, index.hexdigest(), len(strata))


def quantise(float_path: Path, int8_path: Path, windows: NDArray[np.float32], front_end: FrontEnd) -> None:
    """Write the INT8 form of an encoder, its ranges the extremes over the windows (n, window_samples).

    The first convolution stays float because it sees the log-mel's whole range and costs little; what makes the scores
    and the embedding, the last convolution and the layers behind the pooling, because rounding would show there.

    Raises:
        GateError: the written graph is not what was asked for, see `quantize.graph.check_graph`.
    """
    with TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared.onnx"
        quant_pre_process(str(float_path), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(int8_path),
            _LogMelReader(windows, front_end),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(QUANTISED),
            nodes_to_exclude=float_convolutions(onnx.load(str(prepared))),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
    check_graph(int8_path)


def float_convolutions(model: onnx.ModelProto) -> list[str]:
    """Names of the convolutions that stay float: the first, and those with no other between them and an output."""
    consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            consumers[name].append(node)

    def leads_to_convolution(node: onnx.NodeProto) -> bool:
        following = [consumer for name in node.output for consumer in consumers[name]]
        return any(consumer.op_type == "Conv" or leads_to_convolution(consumer) for consumer in following)

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    last = [node.name for node in convolutions if not leads_to_convolution(node)]
    return [convolutions[0].name, *last]


class _LogMelReader(CalibrationDataReader):  # type: ignore[misc]
    """Hands the windows' log-mels to the calibrator, one at a time."""

    def __init__(self, windows: NDArray[np.float32], front_end: FrontEnd) -> None:
        self._log_mel = LogMel(front_end).eval()
        self._windows: Iterator[NDArray[np.float32]] = iter(windows)

    @torch.inference_mode()
    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        window = next(self._windows, None)
        return None if window is None else {"log_mel": self._log_mel(torch.from_numpy(window)[None]).numpy()}
