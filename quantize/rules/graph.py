"""A read-only view of an ONNX graph: who makes and who reads a tensor, constants, shapes, and Q/DQ pairs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

QUANTISER, DEQUANTISER = "QuantizeLinear", "DequantizeLinear"
CONVOLUTIONS = ("Conv", "ConvTranspose")
WEIGHTED = (*CONVOLUTIONS, "Gemm", "MatMul")
"""Layers that INT8 speeds up."""
COMMUTING = ("MaxPool", "Reshape", "Transpose", "Concat", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice")
"""Operators that TensorRT moves Q/DQ across."""


class Graph:
    """One model; tensors go by their names."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.nodes: list[NodeProto] = list(model.graph.node)
        self.opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=0)
        self.external = [tensor.name for tensor in model.graph.initializer if tensor.data_location == tensor.EXTERNAL]
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.consumers: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.consumers[name].append(node)
        self.outputs = [value.name for value in model.graph.output]
        self._places = {id(node): place for place, node in enumerate(self.nodes)}

    @cached_property
    def constants(self) -> dict[str, NDArray[Any]]:
        """Initialisers and the outputs of Constant nodes; not those in a second file."""
        found = {
            tensor.name: numpy_helper.to_array(tensor)
            for tensor in self.model.graph.initializer
            if tensor.data_location != tensor.EXTERNAL
        }
        for node in self.nodes:
            value = attribute(node, "value") if node.op_type == "Constant" else None
            if value is not None:
                found[node.output[0]] = numpy_helper.to_array(value)
        return found

    @cached_property
    def _values(self) -> dict[str, onnx.TypeProto.Tensor]:
        try:
            graph = onnx.shape_inference.infer_shapes(self.model).graph
        except Exception:  # rule 17 tells it; the other rules go on with what the file itself says
            graph = self.model.graph
        values = [*graph.value_info, *graph.input, *graph.output]
        return {value.name: value.type.tensor_type for value in values}

    def shape(self, name: str) -> list[int | str] | None:
        """Dimensions, names for those that vary, an empty name for an unknown one; None where nothing is known."""
        if name in self.constants:
            return list(self.constants[name].shape)
        value = self._values.get(name)
        if value is None or not value.HasField("shape"):
            return None
        return [d.dim_value if d.HasField("dim_value") else d.dim_param for d in value.shape.dim]

    def element_types(self) -> Iterator[tuple[str, int]]:
        """Every tensor of which a type is known, with its `TensorProto` type."""
        yield from ((tensor.name, tensor.data_type) for tensor in self.model.graph.initializer)
        yield from ((name, value.elem_type) for name, value in self._values.items())
        yield from (
            (node.output[0], value.data_type)
            for node in self.nodes
            if node.op_type == "Constant" and (value := attribute(node, "value")) is not None
        )

    def element_type(self, name: str) -> int:
        """`TensorProto` type of a tensor; UNDEFINED where it is not known."""
        if name in self.constants:
            return int(helper.np_dtype_to_tensor_dtype(self.constants[name].dtype))
        value = self._values.get(name)
        return value.elem_type if value is not None else TensorProto.UNDEFINED

    def title(self, node: NodeProto) -> str:
        """How a finding names a node."""
        return f"{node.name or f'node {self._places[id(node)]}'} ({node.op_type})"

    def of_type(self, *types: str) -> list[NodeProto]:
        """The nodes of some operators, in the graph's order."""
        return [node for node in self.nodes if node.op_type in types]

    @cached_property
    def quantisers(self) -> list[NodeProto]:
        """All Q and DQ nodes."""
        return self.of_type(QUANTISER, DEQUANTISER)

    def dequantiser(self, name: str) -> NodeProto | None:
        """The DQ node that makes a tensor, seen through operators that Q/DQ move across."""
        node = self.producer.get(name)
        while node is not None and node.op_type in COMMUTING:
            node = self.producer.get(node.input[0])
        return node if node is not None and node.op_type == DEQUANTISER else None

    def source(self, dequantiser: NodeProto) -> str:
        """The tensor before a Q/DQ pair, or the INT8 constant before a lone DQ."""
        before = self.producer.get(dequantiser.input[0])
        return str(before.input[0] if before is not None and before.op_type == QUANTISER else dequantiser.input[0])

    def weight(self, node: NodeProto) -> NDArray[Any] | None:
        """The constant second input of a layer, as it is stored, through a Q/DQ pair if there is one."""
        if len(node.input) < 2:
            return None
        made_by = self.dequantiser(node.input[1])
        return self.constants.get(node.input[1] if made_by is None else self.source(made_by))

    def is_int8(self, node: NodeProto) -> bool:
        """A weighted layer whose input and weights are both quantised."""
        return node.op_type in WEIGHTED and all(self.dequantiser(name) is not None for name in node.input[:2])

    def readers(self, name: str) -> list[NodeProto]:
        """Who reads a tensor, looking through Q/DQ pairs and what they move across."""
        found = []
        for node in self.consumers[name]:
            if node.op_type in (QUANTISER, DEQUANTISER, *COMMUTING):
                found += [reader for output in node.output for reader in self.readers(output)]
            else:
                found.append(node)
        return found


def attribute(node: NodeProto, name: str, default: Any = None) -> Any:
    """An attribute's value, or the default where the node does not have it."""
    for entry in node.attribute:
        if entry.name == name:
            return helper.get_attribute_value(entry)
    return default


def depthwise(node: NodeProto, weight: NDArray[np.generic]) -> bool:
    """Whether a convolution gives every channel its own kernel."""
    return node.op_type == "Conv" and attribute(node, "group", 1) == weight.shape[0] > 1
