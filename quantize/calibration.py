"""INT8: where Q/DQ pairs stand for each target, and the graph that onnxruntime.quantization writes with them.

`cpu`: uint8 activations with their outputs quantised, int8 weights per output channel: what ONNX Runtime's CPU kernels
fuse. `jetson`: what TensorRT accepts and fuses: int8, symmetric, zero points 0, float bias, pairs on the inputs of
convolutions and linear layers only (the skip branch of a residual add is one), none between a convolution and its ReLU
or add. Weights are int8 in both, and a DQ follows them: as float with Q and DQ, as NVIDIA's own tool writes them, a
file is more than three times as large.

One graph cannot be fast on both: its accuracy may be checked on a CPU, its speed may not. Ranges come from
`quantize.histograms`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
from onnxruntime.quantization.shape_inference import quant_pre_process

from quantize.graph import check_graph
from quantize.histograms import Calibrator, Histogram, Range

Target = Literal["cpu", "jetson"]
WEIGHTED = ("Conv", "Gemm", "MatMul")

WIDTHS: Mapping[Target, tuple[int, ...]] = {"cpu": (7, 8), "jetson": (8,)}
"""Bits of a weight that are tried, the preferred first. CPUs without VNNI add pairs of products in 16 bits, which
overflow with eight bits, and a bundle may meet such a CPU wherever it was made."""

LEVELS = 128
"""Magnitudes that a value of either sign may take."""


@dataclass(frozen=True)
class Recipe:
    """How a target wants its Q/DQ pairs."""

    activations: QuantType
    operators: tuple[str, ...]
    """What is quantised. Sigmoid, mean and what lies around them are a thousandth of the work and span wide ranges."""
    options: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""


RECIPES: Mapping[Target, Recipe] = {
    "cpu": Recipe(
        activations=QuantType.QUInt8,
        operators=("Conv", "Add", "Relu", "Gemm"),
        # The embedding is an output: rounding it to 256 levels would show.
        options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        words="static QDQ, uint8 activations, int8 weights per channel",
    ),
    "jetson": Recipe(
        activations=QuantType.QInt8,
        operators=WEIGHTED,
        options={
            "ActivationSymmetric": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": list(WEIGHTED),
            # Else small weights get coarser steps for the sake of an int32 bias, which there is not.
            "QDQDisableWeightAdjustForInt32Bias": True,
        },
        words="static QDQ for TensorRT, symmetric int8 on inputs, int8 weights per channel, float bias",
    ),
}


def ranges_of(histograms: Mapping[str, Histogram], calibrator: Calibrator, target: Target) -> dict[str, Range]:
    """Ranges of all tensors by one calibrator. uint8 spends all its levels on what is never negative, int8 half."""
    asymmetric = RECIPES[target].activations == QuantType.QUInt8
    return {
        name: histogram.range(calibrator, 2 * LEVELS if asymmetric and histogram.lowest >= 0.0 else LEVELS)
        for name, histogram in histograms.items()
    }


def quantise(
    float_path: Path,
    int8_path: Path,
    ranges: Mapping[str, Range],
    target: Target = "cpu",
    *,
    weight_bits: int | None = None,
    keep_float: Sequence[str] = (),
) -> None:
    """Write the INT8 form of an encoder.

    The first convolution stays float because it sees the log-mel's whole range and costs little, and so does what makes
    the scores, because rounding would show there; see `float_nodes`.

    Args:
        float_path: float32 encoder.
        int8_path: file to write.
        ranges: lowest and highest value of every activation.
        target: whose recipe.
        weight_bits: one of `WIDTHS`; None: the first.
        keep_float: names of further convolutions and linear layers that stay float.

    Raises:
        GateError: the written graph is not what was asked for, see `quantize.graph.check_graph`.
    """
    recipe = RECIPES[target]
    with TemporaryDirectory() as scratch:
        prepared, cache = Path(scratch) / "prepared.onnx", Path(scratch) / "ranges.json"
        quant_pre_process(str(float_path), str(prepared), skip_optimization=True, skip_symbolic_shape=True)
        data = {name: (np.float32(low), np.float32(high)) for name, (low, high) in sorted(ranges.items())}
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, data), cache)
        model = onnx.load(str(prepared))
        excluded = [*float_nodes(model), *keep_float, *_around(model, keep_float)]
        quantize_static(
            str(prepared),
            str(int8_path),
            None,
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(recipe.operators),
            nodes_to_exclude=excluded,
            activation_type=recipe.activations,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=(weight_bits or WIDTHS[target][0]) == 7,
            calibrate_method=CalibrationMethod.MinMax,
            calibration_cache_path=str(cache),
            extra_options=dict(recipe.options),
        )
    check_graph(int8_path)


def float_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of what stays float: the first convolution, and convolutions and linear layers that no other follows."""
    consumers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in model.graph.node:
        for name in node.input:
            consumers[name].append(node)

    def leads_to_weights(node: onnx.NodeProto) -> bool:
        following = [consumer for name in node.output for consumer in consumers[name]]
        return any(consumer.op_type in WEIGHTED or leads_to_weights(consumer) for consumer in following)

    first = next(node.name for node in model.graph.node if node.op_type == "Conv")
    weighted = [node for node in model.graph.node if node.op_type in WEIGHTED]
    return [first, *(node.name for node in weighted if not leads_to_weights(node) and node.name != first)]


def _around(model: onnx.ModelProto, names: Sequence[str]) -> list[str]:
    """Names of the adds and ReLUs that make the input of the named layers or take their output: these go float too."""
    produced = {name: node for node in model.graph.node for name in node.output}
    found: set[str] = set()

    def follow(tensor: str, step: Callable[[str], list[onnx.NodeProto]]) -> None:
        for node in step(tensor):
            if node.op_type in ("Add", "Relu") and node.name not in found:
                found.add(node.name)
                follow((node.input if step is before else node.output)[0], step)

    def before(tensor: str) -> list[onnx.NodeProto]:
        return [produced[tensor]] if tensor in produced else []

    def after(tensor: str) -> list[onnx.NodeProto]:
        return [node for node in model.graph.node if tensor in node.input]

    for node in model.graph.node:
        if node.name in names:
            follow(node.input[0], before)
            follow(node.output[0], after)
    return sorted(found)


def quantised_nodes(path: Path) -> list[str]:
    """Names of the convolutions and linear layers of a float32 encoder that INT8 takes, in order."""
    model = onnx.load(str(path))
    excluded = set(float_nodes(model))
    return [node.name for node in model.graph.node if node.op_type in WEIGHTED and node.name not in excluded]
