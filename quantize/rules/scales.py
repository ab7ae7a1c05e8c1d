"""Rules on Q and DQ nodes themselves: scales, zero points, axes, and the weights behind them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from onnx import NodeProto, TensorProto

from quantize.rules.graph import DEQUANTISER, QUANTISER, WEIGHTED, attribute, depthwise
from quantize.rules.rule import Case, Problem

HALF_NORMAL = 2.0**-14
"""The least float16 that is not subnormal."""


def scale_values(case: Case) -> Iterator[Problem]:
    """Rule 4."""
    for node in case.graph.quantisers:
        title, scale = case.graph.title(node), case.graph.constants.get(node.input[1])
        if scale is None:
            yield Problem(title, "its scale is not a constant", "calibrate, and store the scale as an initialiser")
            continue
        if scale.dtype != np.float32 and not (scale.dtype == np.float16 and case.target.half_scales):
            yield Problem(
                title,
                f"its scale is {scale.dtype}, TensorRT {case.target} takes float32",
                "store scales as float32; float16 ones are for strongly typed builds from 10.12 on",
            )
        if not np.all(np.isfinite(scale)):
            yield Problem(
                title, "its scale is not finite", "look for NaN or infinite values in the calibration windows"
            )
        elif not np.all(scale > 0):
            yield Problem(
                title, "a scale is not above zero", "give a channel without range a small scale, such as 2**-14"
            )
        elif np.any(scale < HALF_NORMAL):
            yield Problem(
                title,
                f"a scale of {float(scale.min()):.3g} becomes subnormal or zero in float16",
                f"raise it to {HALF_NORMAL:.3g}: its channel holds next to nothing",
                "error" if scale.dtype == np.float16 else "warning",
            )


def zero_points(case: Case) -> Iterator[Problem]:
    """Rule 5."""
    mend = "quantise symmetrically: int8 activations and weights, zero point 0"
    for node in case.graph.quantisers:
        if len(node.input) < 3 or not node.input[2]:
            continue
        title, zero = case.graph.title(node), case.graph.constants.get(node.input[2])
        if zero is None:
            yield Problem(title, "its zero point is not a constant", mend)
        elif zero.dtype != np.int8:
            yield Problem(title, f"its zero point is {zero.dtype}, TensorRT takes int8 alone", mend)
        elif np.any(zero != 0):
            yield Problem(title, "its zero point is not zero, TensorRT is symmetric", mend)


def axes(case: Case) -> Iterator[Problem]:
    """Rule 6."""
    graph = case.graph
    for node in graph.quantisers:
        scale = graph.constants.get(node.input[1])
        if scale is None or scale.size == 1:
            continue
        title = graph.title(node)
        data = graph.constants.get(graph.source(node) if node.op_type == DEQUANTISER else node.input[0])
        if data is None:
            yield Problem(title, "scales per channel on an activation", "use one scale for the whole tensor")
            continue
        axis = attribute(node, "axis", 1) % max(1, data.ndim)
        if scale.ndim != 1 or len(scale) != data.shape[axis]:
            sizes = f"scales {scale.shape} for weights {data.shape} along axis {axis}"
            yield Problem(title, sizes, "give one scale for every output channel")
        for layer in graph.readers(node.output[0]):
            if layer.op_type in WEIGHTED and axis != (expected := _output_axis(layer, data.ndim)):
                problem = f"scales along axis {axis} of the weights of {graph.title(layer)}"
                yield Problem(title, problem, f"put them along its output channels, axis {expected}")
    for layer in graph.of_type("Conv"):
        weight, by = graph.weight(layer), graph.dequantiser(layer.input[1])
        if weight is None or by is None or not depthwise(layer, weight):
            continue
        scale = graph.constants.get(by.input[1])
        if scale is not None and scale.size == 1:
            problem, mend = "one scale for all kernels of a depthwise convolution", "quantise its weights per channel"
            yield Problem(graph.title(layer), problem, mend, "warning")


def _output_axis(layer: NodeProto, dimensions: int) -> int:
    if layer.op_type == "Conv":
        return 0
    if layer.op_type == "ConvTranspose":
        return 1
    return 0 if layer.op_type == "Gemm" and attribute(layer, "transB", 0) else dimensions - 1


def output_types(case: Case) -> Iterator[Problem]:
    """Rule 7."""
    mend = "give it a zero point of int8 0: without one ONNX means uint8"
    for node in case.graph.of_type(QUANTISER):
        zero = case.graph.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        kind = attribute(node, "output_dtype", 0) or TensorProto.UINT8
        if zero is None and kind != TensorProto.INT8:
            yield Problem(case.graph.title(node), f"it quantises to {TensorProto.DataType.Name(kind).lower()}", mend)
    for node in case.graph.of_type(DEQUANTISER):
        data = case.graph.constants.get(node.input[0])
        if data is not None and data.dtype != np.int8:
            yield Problem(
                case.graph.title(node),
                f"it reads a constant of {data.dtype}",
                "store weights as int8, biases as float32",
            )


def dead_channels(case: Case) -> Iterator[Problem]:
    """Rule 19."""
    for node in case.graph.of_type(*WEIGHTED):
        weight = case.graph.weight(node)
        if weight is None or weight.ndim < 2 or case.graph.dequantiser(node.input[1]) is None:
            continue
        axis = _output_axis(node, weight.ndim)
        dead = np.flatnonzero(~np.any(weight != 0, axis=tuple(other for other in range(weight.ndim) if other != axis)))
        if len(dead):
            yield Problem(
                case.graph.title(node),
                f"all weights of {len(dead)} output channels are zero, the first is {dead[0]}",
                "remove them, or train on: such a channel has no range and gets an invented scale",
                "warning",
            )
