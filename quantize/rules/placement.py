"""Rules on where Q/DQ pairs lie: at the inputs of layers that run in INT8, and nowhere else."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from onnx import NodeProto

from quantize.rules.graph import CONVOLUTIONS, DEQUANTISER, QUANTISER, WEIGHTED, Graph, attribute, depthwise
from quantize.rules.rule import Case, Problem

FUSED = ("Relu", "Clip", "LeakyRelu", "PRelu", "BatchNormalization", "HardSwish", "HardSigmoid", "Sigmoid")
"""What TensorRT runs in one kernel with the convolution before it."""
FLOAT_ONLY = (
    "Softmax",
    "LogSoftmax",
    "LayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "Gelu",
    "Erf",
    "Sigmoid",
    "HardSigmoid",
    "HardSwish",
    "Tanh",
    "Exp",
    "Log",
)
POOLED = ("GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax")
SWISH = ("HardSwish", "HardSigmoid", "Sigmoid")
CHANNELS = 16
"""Tensor cores take channels in groups of so many; others are padded."""


def weights(case: Case) -> Iterator[Problem]:
    """Rule 8."""
    for node in case.graph.of_type(*CONVOLUTIONS):
        title = case.graph.title(node)
        if case.graph.weight(node) is None and not case.graph.external:
            problem = "its weights are computed in the graph"
            yield Problem(title, problem, "fold them into a constant; a dynamic convolution stays float, on the CPU")
        if case.graph.dequantiser(node.input[1]) is not None and attribute(node, "kernel_shape") is None:
            problem = "no kernel_shape, and its weights come through DequantizeLinear"
            yield Problem(title, problem, "write the attribute kernel_shape")


def biases(case: Case) -> Iterator[Problem]:
    """Rule 9."""
    for node in case.graph.of_type(*CONVOLUTIONS, "Gemm"):
        if len(node.input) > 2 and case.graph.dequantiser(node.input[2]) is not None:
            problem = "its bias comes through DequantizeLinear"
            yield Problem(case.graph.title(node), problem, "keep biases float32 (QuantizeBias=False)")


def both_or_neither(case: Case) -> Iterator[Problem]:
    """Rule 10."""
    for node in case.graph.of_type(*WEIGHTED):
        quantised = [case.graph.dequantiser(name) is not None for name in node.input[:2]]
        if quantised[0] != quantised[1]:
            which = "input" if quantised[0] else "second input"
            yield Problem(
                case.graph.title(node),
                f"only its {which} is quantised, so that it cannot run in INT8",
                "quantise both, or exclude the layer",
            )


def fusions(case: Case) -> Iterator[Problem]:
    """Rule 11."""
    graph = case.graph
    for node in graph.of_type(QUANTISER):
        made_by = graph.producer.get(node.input[0])
        if made_by is None or made_by.op_type not in CONVOLUTIONS:
            continue
        for reader in (one for pair in graph.consumers[node.output[0]] for one in graph.consumers[pair.output[0]]):
            if reader.op_type in FUSED:
                yield Problem(
                    graph.title(node),
                    f"it lies between {graph.title(made_by)} and its {reader.op_type}, which then do not fuse",
                    "quantise the inputs of layers, not their outputs (OpTypesToExcludeOutputQuantization)",
                )
    for node in graph.of_type("Add"):
        if not _is_residual(graph, node):
            continue
        quantised = [graph.dequantiser(name) for name in node.input]
        if all(quantised):
            problem, mend = "both branches of a residual Add are quantised", "leave the convolution's branch float"
            yield Problem(graph.title(node), problem, mend, "warning")
        elif not any(quantised):
            problem, mend = "no branch of a residual Add is quantised", "put a Q/DQ pair on the skip branch"
            yield Problem(graph.title(node), problem, mend, "warning")
        elif (by := next(filter(None, quantised))) and _made_by_int8_convolution(graph, graph.source(by)):
            other = next(name for name, made in zip(node.input, quantised, strict=True) if made is None)
            if not _made_by_int8_convolution(graph, other):
                problem = "the convolution's branch of a residual Add is quantised, and the skip branch is not"
                yield Problem(graph.title(node), problem, "quantise the skip branch instead", "warning")


def _made_by_int8_convolution(graph: Graph, name: str) -> bool:
    made_by = graph.producer.get(name)
    return made_by is not None and made_by.op_type in CONVOLUTIONS and graph.is_int8(made_by)


def _is_residual(graph: Graph, node: NodeProto) -> bool:
    """An Add of two tensors that are both computed, one of them by an INT8 convolution."""
    if any(name in graph.constants for name in node.input):
        return False
    sources = [graph.source(by) if (by := graph.dequantiser(name)) is not None else name for name in node.input]
    return any(_made_by_int8_convolution(graph, name) for name in sources)


def stays_float(case: Case) -> Iterator[Problem]:
    """Rule 12."""
    graph = case.graph
    for node in graph.of_type(*FLOAT_ONLY):
        if any(graph.dequantiser(name) is not None for name in node.input):
            problem = f"the input of {node.op_type} is quantised"
            yield Problem(graph.title(node), problem, "take the Q/DQ pair away: it spans a wide range", "warning")
    convolutions = graph.of_type("Conv")
    if convolutions and graph.is_int8(convolutions[0]):
        problem = "the first convolution runs in INT8"
        mend = "exclude it: it costs little and sees the widest range"
        yield Problem(graph.title(convolutions[0]), problem, mend, "warning")
    for node in (node for node in graph.of_type(*WEIGHTED) if graph.is_int8(node)):
        behind = list(_downstream(graph, node))
        if not any(follower.op_type in WEIGHTED for follower in behind):
            problem, mend = (
                "the last layer before an output runs in INT8",
                "exclude it: its rounding shows in the output",
            )
            yield Problem(graph.title(node), problem, mend, "warning")
        elif _in_gate(graph, node):
            problem, mend = "a layer of a squeeze-and-excitation gate runs in INT8", "exclude the whole gate"
            yield Problem(graph.title(node), problem, mend, "warning")


def _downstream(graph: Graph, node: NodeProto) -> Iterator[NodeProto]:
    seen: set[int] = set()
    waiting = [node]
    while waiting:
        for name in waiting.pop().output:
            for reader in graph.consumers[name]:
                if id(reader) not in seen:
                    seen.add(id(reader))
                    waiting.append(reader)
                    yield reader


def _in_gate(graph: Graph, node: NodeProto) -> bool:
    """Whether what a global pooling made of a tensor comes, through this layer, to scale that tensor."""
    above = graph.producer.get(node.input[0])
    while above is not None and above.op_type not in POOLED:
        above = graph.producer.get(above.input[0]) if above.input else None
    if above is None:
        return False
    return any(one.op_type == "Mul" and above.input[0] in one.input for one in _downstream(graph, node))


def multiplications(graph: Graph, node: NodeProto) -> int:
    """Multiply-accumulates of a weighted layer for one input, dimensions that vary taken as 1; 0 where unknown."""
    weight, inputs, output = graph.weight(node), graph.shape(node.input[0]), graph.shape(node.output[0])
    if inputs is None or output is None or (weight is None and node.op_type in CONVOLUTIONS):
        return 0
    if node.op_type in CONVOLUTIONS and weight is not None:
        return _size(output if node.op_type == "Conv" else inputs) * int(np.prod(weight.shape[1:]))
    inner = inputs[0 if node.op_type == "Gemm" and attribute(node, "transA", 0) else -1]
    return _size(output) * _size([inner])


def _size(shape: list[int | str]) -> int:
    return math.prod(size for size in shape if isinstance(size, int))


def int8_share(graph: Graph) -> float:
    """Part of the graph's multiply-accumulates that run in INT8, 0..1; 0 where there are none."""
    layers = graph.of_type(*WEIGHTED)
    total = sum(multiplications(graph, node) for node in layers)
    return sum(multiplications(graph, node) for node in layers if graph.is_int8(node)) / total if total else 0.0


def share(case: Case) -> Iterator[Problem]:
    """Rule 15."""
    if not case.graph.quantisers:
        problem, mend = "it holds no Q/DQ pair and runs in float", "quantise it, or build it as float16"
        yield Problem("graph", problem, mend, "warning")
    elif (part := int8_share(case.graph)) < 0.8:
        problem = f"{part:.0%} of the multiplications run in INT8, less than 80 %"
        yield Problem("graph", problem, "quantise the layers with the most of them, or use float16", "warning")


def channels(case: Case) -> Iterator[Problem]:
    """Rule 18."""
    for node in (node for node in case.graph.of_type("Conv") if case.graph.is_int8(node)):
        weight = case.graph.weight(node)
        if weight is None:
            continue
        outputs, inputs = weight.shape[0], weight.shape[1] * attribute(node, "group", 1)
        if inputs % CHANNELS or outputs % CHANNELS:
            problem = f"{inputs} channels in, {outputs} out: not both a multiple of {CHANNELS}"
            yield Problem(case.graph.title(node), problem, "round the widths up, or exclude the layer", "warning")


def wasted_pairs(case: Case) -> Iterator[Problem]:
    """Rule 20."""
    graph = case.graph
    for node in graph.of_type(DEQUANTISER):
        readers = graph.readers(node.output[0])
        if not any(reader.op_type in (*WEIGHTED, "Add", *FLOAT_ONLY) for reader in readers):
            names = ", ".join(sorted({reader.op_type for reader in readers})) or "an output of the graph"
            problem = f"what it makes is read by {names} and by no layer that runs in INT8"
            yield Problem(graph.title(node), problem, "take the pair away", "warning")


def swish_after_depthwise(case: Case) -> Iterator[Problem]:
    """Rule 21."""
    if case.target.version >= (8, 6):
        return
    graph = case.graph
    for node in graph.of_type("Conv"):
        weight = graph.weight(node)
        if weight is None or not graph.is_int8(node) or not depthwise(node, weight):
            continue
        if any(reader.op_type in SWISH for reader in graph.consumers[node.output[0]]):
            problem = "a depthwise convolution in INT8 with a swish behind it fails to build in 8.5.2 (TensorRT#3385)"
            yield Problem(graph.title(node), problem, "exclude the layer, or train with ReLU")
