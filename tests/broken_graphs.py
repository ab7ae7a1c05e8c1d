"""The graph of `tests.qdq`, broken in one way by each function, and the rule that has to tell it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, TensorProto, helper

from tests import qdq

Break = Callable[[ModelProto], object]


def foreign_domain(model: ModelProto) -> None:
    qdq.node(model, "last_relu").domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def opset_25(model: ModelProto) -> None:
    model.opset_import[0].version = 25


def opset_12(model: ModelProto) -> None:
    model.opset_import[0].version = 12
    for name in ("left_w", "right_w", "last_w"):
        qdq.store(model, f"{name}_scale", np.array(0.01, np.float32))
        qdq.store(model, f"{name}_zero", np.zeros((), np.int8))
        for end in ("q", "dq"):
            del qdq.node(model, f"{name}_{end}").attribute[:]


def newer_file(model: ModelProto) -> None:
    model.ir_version = 11


def complex_weights(model: ModelProto) -> None:
    qdq.store(model, "spectrum", np.ones(4, np.complex64))


def batch_norm(model: ModelProto) -> None:
    for name in ("one", "two", "three", "four"):
        qdq.store(model, name, np.ones(qdq.CHANNELS, np.float32))
    qdq.insert(model, "last_relu", "BatchNormalization", ["last", "one", "two", "three", "four"], "norm")
    qdq.reroute(model, "last_relu", 0, "norm")


def dynamic_quantisation(model: ModelProto) -> None:
    qdq.insert(model, "head", "DynamicQuantizeLinear", ["flat"], "flat_q")
    qdq.node(model, "flat_q").output.extend(["flat_scale", "flat_zero"])


def zero_scale(model: ModelProto) -> None:
    scales = qdq.constant(model, "left_w_scale")
    scales[3] = 0.0
    qdq.store(model, "left_w_scale", scales)


def computed_scale(model: ModelProto) -> None:
    qdq.insert(model, "stem_relu_q", "ReduceMax", ["stem_relu"], "range", keepdims=0)
    for name in ("stem_relu_q", "stem_relu_dq"):
        qdq.reroute(model, name, 1, "range")


def infinite_scale(model: ModelProto) -> None:
    qdq.store(model, "stem_relu_scale", np.array(np.inf, np.float32))


def tiny_scale(model: ModelProto) -> None:
    qdq.store(model, "stem_relu_scale", np.array(1e-6, np.float32))


def computed_zero_point(model: ModelProto) -> None:
    qdq.insert(model, "stem_relu_q", "Identity", ["zero"], "zero_made")
    for name in ("stem_relu_q", "stem_relu_dq"):
        qdq.reroute(model, name, 2, "zero_made")


def unsigned(model: ModelProto) -> None:
    qdq.store(model, "zero", np.zeros((), np.uint8))


def shifted(model: ModelProto) -> None:
    qdq.store(model, "zero", np.array(3, np.int8))


def activation_per_channel(model: ModelProto) -> None:
    qdq.store(model, "stem_relu_scale", np.full(qdq.CHANNELS, 0.05, np.float32))
    qdq.store(model, "zeros", np.zeros(qdq.CHANNELS, np.int8))
    for name in ("stem_relu_q", "stem_relu_dq"):
        qdq.reroute(model, name, 2, "zeros")


def wrong_axis(model: ModelProto) -> None:
    for name in ("left_w_q", "left_w_dq"):
        qdq.node(model, name).attribute[0].i = 1


def too_few_scales(model: ModelProto) -> None:
    qdq.store(model, "left_w_scale", np.full(qdq.CHANNELS // 2, 0.01, np.float32))
    qdq.store(model, "left_w_zero", np.zeros(qdq.CHANNELS // 2, np.int8))


def unsigned_weights(model: ModelProto) -> None:
    qdq.store(model, "left_w_q", np.full(qdq.constant(model, "left_w").shape, 3, np.uint8))
    qdq.store(model, "left_w_zero", np.zeros(qdq.CHANNELS, np.uint8))
    model.graph.node.remove(qdq.node(model, "left_w_q"))


def no_zero_point(model: ModelProto) -> None:
    del qdq.node(model, "stem_relu_q").input[2]


def computed_weights(model: ModelProto) -> None:
    qdq.insert(model, "stem", "Relu", ["stem_w"], "stem_w_computed")
    qdq.reroute(model, "stem", 1, "stem_w_computed")


def no_kernel_shape(model: ModelProto) -> None:
    left = qdq.node(model, "left")
    kept = [entry for entry in left.attribute if entry.name != "kernel_shape"]
    del left.attribute[:]
    left.attribute.extend(kept)


def quantised_bias(model: ModelProto) -> None:
    qdq.store(model, "left_b", np.zeros(qdq.CHANNELS, np.int32))
    qdq.store(model, "left_b_scale", np.array(0.01, np.float32))
    qdq.insert(model, "left", "DequantizeLinear", ["left_b", "left_b_scale"], "left_b_dq")
    qdq.reroute(model, "left", 2, "left_b_dq")


def quantised_bias_of_head(model: ModelProto) -> None:
    qdq.store(model, "head_b_int", np.zeros(3, np.int32))
    qdq.store(model, "head_b_scale", np.array(0.01, np.float32))
    qdq.insert(model, "head", "DequantizeLinear", ["head_b_int", "head_b_scale"], "head_b_dq")
    qdq.reroute(model, "head", 2, "head_b_dq")


def float_input(model: ModelProto) -> None:
    qdq.reroute(model, "left", 0, "stem_relu")


def float_weights(model: ModelProto) -> None:
    qdq.reroute(model, "left", 1, "left_w")


def both_branches(model: ModelProto) -> None:
    qdq.quantise_between(model, "right", "join", 1)


def no_branch(model: ModelProto) -> None:
    qdq.reroute(model, "join", 0, "stem_relu")


def other_branch(model: ModelProto) -> None:
    no_branch(model)
    both_branches(model)


def head_in_int8(model: ModelProto) -> None:
    """The head as torch exports a linear layer, with its weights transposed."""
    qdq.store(model, "head_w", qdq.constant(model, "head_w").T.copy())
    qdq.node(model, "head").attribute.append(helper.make_attribute("transB", 1))
    qdq.store(model, "head_scale", np.full(3, 0.01, np.float32))
    qdq.store(model, "head_zero", np.zeros(3, np.int8))
    qdq.insert(model, "head", "QuantizeLinear", ["head_w", "head_scale", "head_zero"], "head_w_q", axis=0)
    qdq.insert(model, "head", "DequantizeLinear", ["head_w_q", "head_scale", "head_zero"], "head_w_dq", axis=0)
    qdq.reroute(model, "head", 1, "head_w_dq")
    qdq.quantise_between(model, "flat", "head")


def first_in_int8(model: ModelProto) -> None:
    scale, zero = np.full(qdq.CHANNELS, 0.01, np.float32), np.zeros(qdq.CHANNELS, np.int8)
    qdq.store(model, "stem_scale", scale)
    qdq.store(model, "stem_zero", zero)
    qdq.insert(model, "stem", "QuantizeLinear", ["stem_w", "stem_scale", "stem_zero"], "stem_w_q", axis=0)
    qdq.insert(model, "stem", "DequantizeLinear", ["stem_w_q", "stem_scale", "stem_zero"], "stem_w_dq", axis=0)
    qdq.reroute(model, "stem", 1, "stem_w_dq")
    qdq.quantise_between(model, "log_mel", "stem")


def varying_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def double_head(model: ModelProto) -> None:
    qdq.insert(model, "head", "Cast", ["flat"], "flat_64", to=TensorProto.DOUBLE)
    for name in ("head_w", "head_b"):
        qdq.store(model, name, qdq.constant(model, name).astype(np.float64))
    qdq.reroute(model, "head", 0, "flat_64")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def computes_with_int64(model: ModelProto) -> None:
    qdq.store(model, "counts", np.arange(qdq.CHANNELS))
    qdq.insert(model, "head", "Cast", ["flat"], "rounded", to=TensorProto.INT64)
    qdq.insert(model, "head", "Mul", ["rounded", "counts"], "weighted")


def int64_output(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["scores"], ["best"], name="best", axis=1))
    model.graph.output.append(helper.make_tensor_value_info("best", TensorProto.INT64, [1, 1]))


def third_in_float(model: ModelProto) -> None:
    qdq.reroute(model, "last", 0, "join_relu")
    qdq.reroute(model, "last", 1, "last_w")


def second_file(model: ModelProto) -> None:
    stored = next(one for one in model.graph.initializer if one.name == "head_w")
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="weights.bin")


def wrong_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5


def missing_scale(model: ModelProto) -> None:
    del qdq.node(model, "stem_relu_q").input[1:]


def dead_channel(model: ModelProto) -> None:
    weights = qdq.constant(model, "left_w")
    weights[5] = 0.0
    qdq.store(model, "left_w", weights)


def before_relu(model: ModelProto) -> None:
    qdq.quantise_between(model, "left", "left_relu")


def before_sigmoid(model: ModelProto) -> None:
    qdq.quantise_between(model, "head", "scores")


def before_activation(model: ModelProto) -> None:
    qdq.quantise_between(model, "join", "join_relu")


def before_pooling(model: ModelProto) -> None:
    qdq.quantise_between(model, "last_relu", "pool")


BROKEN: list[tuple[int, str, Break, str, str]] = [
    (1, "error", foreign_domain, "last_relu (Relu)", "domain com.microsoft"),
    (2, "error", opset_25, "graph", "opset 25"),
    (2, "error", opset_12, "graph", "no scales per channel"),
    (2, "error", newer_file, "graph", "IR version 11"),
    (3, "error", batch_norm, "norm (BatchNormalization)", "fold it"),
    (3, "error", dynamic_quantisation, "flat_q (DynamicQuantizeLinear)", "no operator"),
    (3, "error", complex_weights, "graph", "spectrum is complex"),
    (4, "error", zero_scale, "left_w_q (QuantizeLinear)", "not above zero"),
    (4, "error", computed_scale, "stem_relu_q (QuantizeLinear)", "not a constant"),
    (4, "error", infinite_scale, "stem_relu_q (QuantizeLinear)", "not finite"),
    (4, "warning", tiny_scale, "stem_relu_q (QuantizeLinear)", "subnormal"),
    (5, "error", computed_zero_point, "stem_relu_q (QuantizeLinear)", "not a constant"),
    (5, "error", unsigned, "stem_relu_q (QuantizeLinear)", "uint8"),
    (5, "error", shifted, "stem_relu_q (QuantizeLinear)", "not zero"),
    (6, "error", activation_per_channel, "stem_relu_q (QuantizeLinear)", "on an activation"),
    (6, "error", wrong_axis, "left_w_q (QuantizeLinear)", "axis 0"),
    (6, "error", too_few_scales, "left_w_q (QuantizeLinear)", "scales (8,)"),
    (7, "error", unsigned_weights, "left_w_dq (DequantizeLinear)", "constant of uint8"),
    (7, "error", no_zero_point, "stem_relu_q (QuantizeLinear)", "uint8"),
    (8, "error", computed_weights, "stem (Conv)", "computed in the graph"),
    (8, "error", no_kernel_shape, "left (Conv)", "no kernel_shape"),
    (9, "error", quantised_bias, "left (Conv)", "bias comes through DequantizeLinear"),
    (9, "error", quantised_bias_of_head, "head (Gemm)", "bias comes through DequantizeLinear"),
    (10, "error", float_weights, "left (Conv)", "only its input is quantised"),
    (10, "error", float_input, "left (Conv)", "only its second input is quantised"),
    (11, "error", before_relu, "left_extra_q (QuantizeLinear)", "Relu"),
    (11, "warning", both_branches, "join (Add)", "both branches"),
    (11, "warning", no_branch, "join (Add)", "no branch"),
    (11, "warning", other_branch, "join (Add)", "the skip branch is not"),
    (12, "warning", head_in_int8, "head (Gemm)", "last layer before an output"),
    (12, "warning", first_in_int8, "stem (Conv)", "first convolution"),
    (12, "warning", before_sigmoid, "scores (Sigmoid)", "quantised"),
    (13, "error", varying_batch, "graph", "dimension batch"),
    (14, "error", double_head, "graph", "float64"),
    (14, "error", computes_with_int64, "weighted (Mul)", "int64"),
    (14, "error", int64_output, "graph", "best at the graph's end is int64"),
    (15, "warning", third_in_float, "graph", "less than 80 %"),
    (16, "error", second_file, "graph", "head_w lie in a second file"),
    (17, "error", wrong_shape, "graph", "ONNX's own checker"),
    (17, "error", missing_scale, "graph", "ONNX's own checker says: Node"),
    (19, "warning", dead_channel, "left (Conv)", "first is 5"),
    (20, "warning", before_activation, "join_extra_dq", "read by Relu"),
    (20, "warning", before_pooling, "last_relu_extra_dq", "take the pair"),
]
"""Rule, severity, what breaks it, and the node and some words that the finding names."""
