"""float16 forms of an encoder for TensorRT, which takes the numbers of a strongly typed build from the graph.

Weights, scales and what lies between layers become float16; inputs and outputs stay float32 behind casts, so that a
device feeds every form alike. A Q/DQ graph is lifted to opset 19, the first whose Q/DQ read float16: a cast between a
Q/DQ pair and its layer would keep TensorRT from running that in INT8. Not yet run on hardware.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, version_converter

from quantize.errors import GateError
from quantize.rules.graph import QUANTISER
from quantize.rules.scales import HALF_NORMAL

TYPED_OPSET, TYPED_IR = 19, 9
HALF_MAX = 65504.0


def write_half(encoder: ModelProto, path: Path) -> None:
    """Write the float16 form of a float32 or Q/DQ encoder, which stays as it is.

    Raises:
        GateError: a weight that float16 cannot hold.
    """
    model = ModelProto()
    model.CopyFrom(encoder)
    if any(node.op_type == QUANTISER for node in model.graph.node):
        model = _lifted(model)
        _raise_small_scales(model)
    _to_half(model, path.name)
    _cast_ends(model)
    # What shape inference had written down names float32.
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _lifted(model: ModelProto) -> ModelProto:
    """The same graph at opset 19, new constants under names that do not change from one run to the next."""
    known = {name for node in model.graph.node for name in node.output}
    lifted = version_converter.convert_version(model, TYPED_OPSET)
    lifted.ir_version = TYPED_IR
    invented = [name for node in lifted.graph.node for name in node.output if name not in known]
    names = {name: f"lifted_{place}" for place, name in enumerate(invented)}
    for node in lifted.graph.node:
        for names_of in (node.input, node.output):
            for place, name in enumerate(names_of):
                names_of[place] = names.get(name, name)
    for place, node in enumerate(node for node in lifted.graph.node if not node.name):
        node.name = f"lifted_node_{place}"
    return lifted


def _raise_small_scales(model: ModelProto) -> None:
    """Give channels that hold next to nothing the least scale that float16 keeps in full.

    Only where the weights stand as float before their Q/DQ pair: they are then quantised again with the new scale.
    """
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != QUANTISER or (tensor := stored.get(node.input[1])) is None:
            continue
        scale = numpy_helper.to_array(tensor)
        if scale.dtype == np.float32 and np.any(scale < HALF_NORMAL):
            tensor.CopyFrom(numpy_helper.from_array(np.maximum(scale, np.float32(HALF_NORMAL)), tensor.name))


def _to_half(model: ModelProto, name: str) -> None:
    for tensor in model.graph.initializer:
        _halve(tensor, name)
    for node in model.graph.node:
        for entry in node.attribute:
            if entry.type == onnx.AttributeProto.TENSOR:
                _halve(entry.t, name)
            if node.op_type == "Cast" and entry.name == "to" and entry.i == TensorProto.FLOAT:
                entry.i = TensorProto.FLOAT16


def _halve(tensor: TensorProto, name: str) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    value: NDArray[Any] = numpy_helper.to_array(tensor)
    # Negated, so that NaN fails too.
    if not np.all(np.abs(value) <= HALF_MAX):
        raise GateError(f"{name}: {tensor.name or 'a constant'} holds {np.abs(value).max():g}, too much for float16")
    tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float16), tensor.name))


def _cast_ends(model: ModelProto) -> None:
    """Keep the graph's inputs and outputs float32 by a cast behind each input and before each output."""
    graph = model.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = {value.name: f"{value.name}_half" for value in graph.input if value.name not in stored}
    outputs = {value.name: f"{value.name}_half" for value in graph.output}
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = inputs.get(name, outputs.get(name, name))
        for place, name in enumerate(node.output):
            node.output[place] = outputs.get(name, name)
    first = [_cast(name, half, TensorProto.FLOAT16) for name, half in inputs.items()]
    last = [_cast(half, name, TensorProto.FLOAT) for name, half in outputs.items()]
    between = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *between, *last])


def _cast(source: str, result: str, to: int) -> NodeProto:
    return helper.make_node("Cast", [source], [result], name=f"cast_{result}", to=to)
