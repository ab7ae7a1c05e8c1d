"""A small INT8 graph as TensorRT wants it, written by hand, and the means to break it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

CHANNELS, SIZE = 16, 8


def good_graph(*, opset: int = 17, channels: int = CHANNELS, labels: int = 3) -> ModelProto:
    """A float first layer, three INT8 convolutions of which two lie in a residual, pooling, and a float head.

    `log_mel` (1, 1, 8, 8) to `scores` (1, labels).
    """
    random = np.random.default_rng(1)
    nodes: list[NodeProto] = []
    stored: dict[str, NDArray[Any]] = {"zero": np.zeros((), np.int8)}

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def pair(name: str) -> str:
        stored[f"{name}_scale"] = np.array(0.05, np.float32)
        add("QuantizeLinear", [name, f"{name}_scale", "zero"], f"{name}_q")
        return add("DequantizeLinear", [f"{name}_q", f"{name}_scale", "zero"], f"{name}_dq")

    def conv(source: str, name: str, inputs: int, *, int8: bool) -> str:
        weight = random.normal(0, 0.3, (channels, inputs, 3, 3)).astype(np.float32)
        stored[f"{name}_w"], stored[f"{name}_b"] = weight, random.normal(0, 0.1, channels).astype(np.float32)
        read = f"{name}_w"
        if int8:
            stored[f"{name}_w_scale"] = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
            stored[f"{name}_w_zero"] = np.zeros(channels, np.int8)
            parts = [f"{name}_w_scale", f"{name}_w_zero"]
            add("QuantizeLinear", [f"{name}_w", *parts], f"{name}_w_q", axis=0)
            read = add("DequantizeLinear", [f"{name}_w_q", *parts], f"{name}_w_dq", axis=0)
        return add("Conv", [source, read, f"{name}_b"], name, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    first = add("Relu", [conv("log_mel", "stem", 1, int8=False)], "stem_relu")
    skip = pair(first)
    inner = add("Relu", [conv(skip, "left", channels, int8=True)], "left_relu")
    body = conv(pair(inner), "right", channels, int8=True)
    joined = add("Relu", [add("Add", [skip, body], "join")], "join_relu")
    last = add("Relu", [conv(pair(joined), "last", channels, int8=True)], "last_relu")
    pooled = add("Flatten", [add("GlobalAveragePool", [last], "pool")], "flat")
    stored["head_w"] = random.normal(0, 0.3, (channels, labels)).astype(np.float32)
    stored["head_b"] = np.zeros(labels, np.float32)
    add("Sigmoid", [add("Gemm", [pooled, "head_w", "head_b"], "head")], "scores")
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, [1, 1, SIZE, SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, labels])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def node(model: ModelProto, name: str) -> NodeProto:
    """The node of that name, to change."""
    return next(one for one in model.graph.node if one.name == name)


def constant(model: ModelProto, name: str) -> NDArray[Any]:
    """A copy of an initialiser's values."""
    return numpy_helper.to_array(next(one for one in model.graph.initializer if one.name == name)).copy()


def store(model: ModelProto, name: str, value: NDArray[Any]) -> None:
    """Add an initialiser, or replace it."""
    for place, one in enumerate(model.graph.initializer):
        if one.name == name:
            del model.graph.initializer[place]
            break
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def insert(model: ModelProto, before: str, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
    """Put a new node, named as its output, in front of another."""
    place = next(index for index, one in enumerate(model.graph.node) if one.name == before)
    model.graph.node.insert(place, helper.make_node(kind, inputs, [output], name=output, **attributes))


def reroute(model: ModelProto, reader: str, place: int, name: str) -> None:
    """Let a node read another tensor at one of its inputs."""
    node(model, reader).input[place] = name


def quantise_between(model: ModelProto, made_by: str, reader: str, place: int = 0) -> None:
    """Put a Q/DQ pair between a node and one of its readers."""
    store(model, f"{made_by}_extra_scale", np.array(0.05, np.float32))
    parts = [f"{made_by}_extra_scale", "zero"]
    insert(model, reader, "QuantizeLinear", [made_by, *parts], f"{made_by}_extra_q")
    insert(model, reader, "DequantizeLinear", [f"{made_by}_extra_q", *parts], f"{made_by}_extra_dq")
    reroute(model, reader, place, f"{made_by}_extra_dq")
