"""Every rule of TensorRT's linter on a graph that keeps it and on one that breaks it; and the program around them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from edge.errors import UserError
from quantize.rules import Finding, lint, target
from quantize.rules.__main__ import main
from quantize.rules.linter import RULES
from tests import qdq

VERSIONS = ("8.5", "8.6", "10.3", "10.13", "11.x")
Break = Callable[[ModelProto], object]


def findings(model: ModelProto, version: str = "10.3", **options: Any) -> list[Finding]:
    return list(lint(model, target(version), **options).findings)


@pytest.mark.parametrize("version", VERSIONS)
def test_good_graph_breaks_no_rule_of_any_version(version: str) -> None:
    found = lint(qdq.good_graph(), target(version))
    assert found.findings == ()
    assert found.int8_share > 0.95


def _foreign_domain(model: ModelProto) -> None:
    qdq.node(model, "last_relu").domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def _opset_25(model: ModelProto) -> None:
    model.opset_import[0].version = 25


def _batch_norm(model: ModelProto) -> None:
    for name in ("one", "two", "three", "four"):
        qdq.store(model, name, np.ones(qdq.CHANNELS, np.float32))
    qdq.insert(model, "last_relu", "BatchNormalization", ["last", "one", "two", "three", "four"], "norm")
    qdq.reroute(model, "last_relu", 0, "norm")


def _dynamic_quantisation(model: ModelProto) -> None:
    qdq.insert(model, "head", "DynamicQuantizeLinear", ["flat"], "flat_q")
    qdq.node(model, "flat_q").output.extend(["flat_scale", "flat_zero"])


def _zero_scale(model: ModelProto) -> None:
    scales = qdq.constant(model, "left_w_scale")
    scales[3] = 0.0
    qdq.store(model, "left_w_scale", scales)


def _computed_scale(model: ModelProto) -> None:
    qdq.insert(model, "stem_relu_q", "ReduceMax", ["stem_relu"], "range", keepdims=0)
    for name in ("stem_relu_q", "stem_relu_dq"):
        qdq.reroute(model, name, 1, "range")


def _infinite_scale(model: ModelProto) -> None:
    qdq.store(model, "stem_relu_scale", np.array(np.inf, np.float32))


def _unsigned(model: ModelProto) -> None:
    qdq.store(model, "zero", np.zeros((), np.uint8))


def _shifted(model: ModelProto) -> None:
    qdq.store(model, "zero", np.array(3, np.int8))


def _activation_per_channel(model: ModelProto) -> None:
    qdq.store(model, "stem_relu_scale", np.full(qdq.CHANNELS, 0.05, np.float32))
    qdq.store(model, "zeros", np.zeros(qdq.CHANNELS, np.int8))
    for name in ("stem_relu_q", "stem_relu_dq"):
        qdq.reroute(model, name, 2, "zeros")


def _wrong_axis(model: ModelProto) -> None:
    for name in ("left_w_q", "left_w_dq"):
        qdq.node(model, name).attribute[0].i = 1


def _no_zero_point(model: ModelProto) -> None:
    del qdq.node(model, "stem_relu_q").input[2]


def _computed_weights(model: ModelProto) -> None:
    qdq.insert(model, "stem", "Relu", ["stem_w"], "stem_w_computed")
    qdq.reroute(model, "stem", 1, "stem_w_computed")


def _no_kernel_shape(model: ModelProto) -> None:
    left = qdq.node(model, "left")
    kept = [entry for entry in left.attribute if entry.name != "kernel_shape"]
    del left.attribute[:]
    left.attribute.extend(kept)


def _quantised_bias(model: ModelProto) -> None:
    qdq.store(model, "left_b", np.zeros(qdq.CHANNELS, np.int32))
    qdq.store(model, "left_b_scale", np.array(0.01, np.float32))
    qdq.insert(model, "left", "DequantizeLinear", ["left_b", "left_b_scale"], "left_b_dq")
    qdq.reroute(model, "left", 2, "left_b_dq")


def _float_input(model: ModelProto) -> None:
    qdq.reroute(model, "left", 0, "stem_relu")


def _both_branches(model: ModelProto) -> None:
    qdq.quantise_between(model, "right", "join", 1)


def _no_branch(model: ModelProto) -> None:
    qdq.reroute(model, "join", 0, "stem_relu")


def _first_in_int8(model: ModelProto) -> None:
    scale, zero = np.full(qdq.CHANNELS, 0.01, np.float32), np.zeros(qdq.CHANNELS, np.int8)
    qdq.store(model, "stem_scale", scale)
    qdq.store(model, "stem_zero", zero)
    qdq.insert(model, "stem", "QuantizeLinear", ["stem_w", "stem_scale", "stem_zero"], "stem_w_q", axis=0)
    qdq.insert(model, "stem", "DequantizeLinear", ["stem_w_q", "stem_scale", "stem_zero"], "stem_w_dq", axis=0)
    qdq.reroute(model, "stem", 1, "stem_w_dq")
    qdq.quantise_between(model, "log_mel", "stem")


def _varying_batch(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"


def _double_head(model: ModelProto) -> None:
    qdq.insert(model, "head", "Cast", ["flat"], "flat_64", to=TensorProto.DOUBLE)
    for name in ("head_w", "head_b"):
        qdq.store(model, name, qdq.constant(model, name).astype(np.float64))
    qdq.reroute(model, "head", 0, "flat_64")
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE


def _computes_with_int64(model: ModelProto) -> None:
    qdq.store(model, "counts", np.arange(qdq.CHANNELS))
    qdq.insert(model, "head", "Cast", ["flat"], "rounded", to=TensorProto.INT64)
    qdq.insert(model, "head", "Mul", ["rounded", "counts"], "weighted")


def _mostly_float(model: ModelProto) -> None:
    for name, source in (("right", "left_relu"), ("last", "join_relu")):
        qdq.reroute(model, name, 0, source)
        qdq.reroute(model, name, 1, f"{name}_w")


def _second_file(model: ModelProto) -> None:
    stored = next(one for one in model.graph.initializer if one.name == "head_w")
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="weights.bin")


def _wrong_shape(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 5


def _missing_scale(model: ModelProto) -> None:
    del qdq.node(model, "stem_relu_q").input[1:]


def _dead_channel(model: ModelProto) -> None:
    weights = qdq.constant(model, "left_w")
    weights[5] = 0.0
    qdq.store(model, "left_w", weights)


def _before_pooling(model: ModelProto) -> None:
    qdq.quantise_between(model, "last_relu", "pool")


BROKEN: list[tuple[int, str, Break, str, str]] = [
    (1, "error", _foreign_domain, "last_relu (Relu)", "domain com.microsoft"),
    (2, "error", _opset_25, "graph", "opset 25"),
    (3, "error", _batch_norm, "norm (BatchNormalization)", "fold it"),
    (3, "error", _dynamic_quantisation, "flat_q (DynamicQuantizeLinear)", "no operator"),
    (4, "error", _zero_scale, "left_w_q (QuantizeLinear)", "not above zero"),
    (4, "error", _computed_scale, "stem_relu_q (QuantizeLinear)", "not a constant"),
    (4, "error", _infinite_scale, "stem_relu_q (QuantizeLinear)", "not finite"),
    (5, "error", _unsigned, "stem_relu_q (QuantizeLinear)", "uint8"),
    (5, "error", _shifted, "stem_relu_q (QuantizeLinear)", "not zero"),
    (6, "error", _activation_per_channel, "stem_relu_q (QuantizeLinear)", "on an activation"),
    (6, "error", _wrong_axis, "left_w_q (QuantizeLinear)", "axis 0"),
    (7, "error", _no_zero_point, "stem_relu_q (QuantizeLinear)", "uint8"),
    (8, "error", _computed_weights, "stem (Conv)", "computed in the graph"),
    (8, "error", _no_kernel_shape, "left (Conv)", "no kernel_shape"),
    (9, "error", _quantised_bias, "left (Conv)", "bias comes through DequantizeLinear"),
    (10, "error", _float_input, "left (Conv)", "only its second input is quantised"),
    (
        11,
        "error",
        lambda model: qdq.quantise_between(model, "left", "left_relu"),
        "left_extra_q (QuantizeLinear)",
        "Relu",
    ),
    (11, "warning", _both_branches, "join (Add)", "both branches"),
    (11, "warning", _no_branch, "join (Add)", "no branch"),
    (12, "warning", _first_in_int8, "stem (Conv)", "first convolution"),
    (12, "warning", lambda model: qdq.quantise_between(model, "head", "scores"), "scores (Sigmoid)", "quantised"),
    (13, "error", _varying_batch, "graph", "dimension batch"),
    (14, "error", _double_head, "graph", "float64"),
    (14, "error", _computes_with_int64, "weighted (Mul)", "int64"),
    (15, "warning", _mostly_float, "graph", "less than 80 %"),
    (16, "error", _second_file, "graph", "head_w lie in a second file"),
    (17, "error", _wrong_shape, "graph", "ONNX's own checker"),
    (17, "error", _missing_scale, "graph", "ONNX's own checker says: Node"),
    (19, "warning", _dead_channel, "left (Conv)", "first is 5"),
    (
        20,
        "warning",
        lambda model: qdq.quantise_between(model, "last_relu", "pool"),
        "last_relu_extra_dq",
        "take the pair",
    ),
]


@pytest.mark.parametrize(
    ("rule", "severity", "spoil", "node", "words"),
    BROKEN,
    ids=[f"{rule}-{words.replace(' ', '-')}" for rule, _, _, _, words in BROKEN],
)
def test_broken_graph_is_told_by_its_rule(rule: int, severity: str, spoil: Break, node: str, words: str) -> None:
    model = qdq.good_graph()
    spoil(model)
    found = [finding for finding in findings(model) if finding.rule == rule]
    assert found, findings(model)
    told = str(found[0])
    assert found[0].severity == severity
    assert node in told and words in told and f"rule {rule}," in told
    assert found[0].mend and "\n" not in told


def test_every_rule_has_a_broken_graph() -> None:
    elsewhere = {18, 21}
    assert {rule for rule, *_ in BROKEN} | elsewhere == {rule.number for rule in RULES}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("spoil", [row[2] for row in BROKEN if row[1] == "error"])
def test_errors_are_refused_by_every_version(version: str, spoil: Break) -> None:
    model = qdq.good_graph()
    spoil(model)
    assert lint(model, target(version)).errors


def test_narrow_convolutions_are_told() -> None:
    found = findings(qdq.good_graph(channels=24))
    assert {finding.rule for finding in found} == {18}
    assert "24 channels in, 24 out" in str(found[0])


def _depthwise_swish() -> ModelProto:
    model = qdq.good_graph()
    qdq.node(model, "left").attribute.append(helper.make_attribute("group", qdq.CHANNELS))
    qdq.store(model, "left_w", qdq.constant(model, "left_w")[:, :1])
    qdq.node(model, "left_relu").op_type = "HardSwish"
    return model


def test_depthwise_convolution_before_a_swish_fails_in_8_5_alone() -> None:
    assert [finding.rule for finding in lint(_depthwise_swish(), target("8.5.2")).errors] == [21]
    assert lint(_depthwise_swish(), target("8.6")).errors == ()


def test_depthwise_convolution_needs_scales_per_channel() -> None:
    model = _depthwise_swish()
    qdq.store(model, "left_w_scale", np.array(0.01, np.float32))
    qdq.store(model, "left_w_zero", np.zeros((), np.int8))
    assert any(finding.rule == 6 and "depthwise" in finding.problem for finding in findings(model))


def test_declared_dimension_may_vary() -> None:
    model = qdq.good_graph()
    _varying_batch(model)
    assert findings(model, profile=["batch"]) == []


def test_layer_normalisation_is_read_from_8_6_on() -> None:
    model = qdq.good_graph()
    qdq.store(model, "gain", np.ones(qdq.CHANNELS, np.float32))
    qdq.insert(model, "head", "LayerNormalization", ["flat", "gain"], "normed")
    qdq.reroute(model, "head", 0, "normed")
    assert [finding.rule for finding in findings(model, "8.5")] == [3]
    assert findings(model, "8.6") == []


@pytest.mark.parametrize(("version", "opset"), [("8.5", 17), ("10.3", 20), ("10.9", 22), ("10.13", 24)])
def test_opset_may_be_the_highest_of_a_version_and_no_higher(version: str, opset: int) -> None:
    model = qdq.good_graph()
    model.opset_import[0].version = opset
    assert 2 not in {finding.rule for finding in findings(model, version)}
    model.opset_import[0].version = opset + 1
    assert 2 in {finding.rule for finding in findings(model, version)}


def test_half_precision_scales_are_for_strongly_typed_builds() -> None:
    model = qdq.good_graph(opset=19)
    qdq.store(model, "stem_relu_scale", np.array(0.05, np.float16))
    assert 4 in {finding.rule for finding in findings(model, "10.3")}
    assert 4 not in {finding.rule for finding in findings(model, "10.13")}


def test_squeeze_and_excitation_stays_float() -> None:
    model = qdq.good_graph()
    for name, source in (("squeeze", "gap"), ("excite", "squeeze")):
        qdq.store(model, f"{name}_w", np.full((qdq.CHANNELS, qdq.CHANNELS, 1, 1), 0.1, np.float32))
        for part, value in (
            ("scale", np.full(qdq.CHANNELS, 0.01, np.float32)),
            ("zero", np.zeros(qdq.CHANNELS, np.int8)),
        ):
            qdq.store(model, f"{name}_{part}", value)
        if name == "squeeze":
            qdq.insert(model, "pool", "GlobalAveragePool", ["last_relu"], "gap")
        parts = [f"{name}_scale", f"{name}_zero"]
        qdq.insert(model, "pool", "QuantizeLinear", [f"{name}_w", *parts], f"{name}_w_q", axis=0)
        qdq.insert(model, "pool", "DequantizeLinear", [f"{name}_w_q", *parts], f"{name}_w_dq", axis=0)
        qdq.insert(model, "pool", "Conv", [source, f"{name}_w_dq"], name, kernel_shape=[1, 1])
        qdq.quantise_between(model, source, name)
    qdq.insert(model, "pool", "Sigmoid", ["excite"], "gate")
    qdq.insert(model, "pool", "Mul", ["last_relu", "gate"], "gated")
    qdq.reroute(model, "pool", 0, "gated")
    onnx.checker.check_model(model, full_check=True)
    told = {finding.node for finding in findings(model) if finding.rule == 12}
    assert told == {"squeeze (Conv)", "excite (Conv)"}


def test_float_graph_is_accepted_and_told_to_be_float() -> None:
    model = qdq.good_graph()
    for name, source in (("left", "stem_relu"), ("right", "left_relu"), ("last", "join_relu")):
        qdq.reroute(model, name, 0, source)
        qdq.reroute(model, name, 1, f"{name}_w")
    qdq.reroute(model, "join", 0, "stem_relu")
    kept = [one for one in model.graph.node if "Linear" not in one.op_type]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    found = lint(model, target("8.5"))
    assert (found.errors, [finding.rule for finding in found.findings], found.int8_share) == ((), [15], 0.0)


@pytest.fixture
def model_path(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(qdq.good_graph(), str(path))
    return path


def test_program_accepts_a_good_file(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(model_path), "--tensorrt", "8.5"]) == 0
    assert "TensorRT 8.5: accepted by these rules, 0 warnings" in capsys.readouterr().out


def test_program_refuses_a_broken_file_and_prints_json(model_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load(str(model_path))
    _unsigned(model)
    onnx.save(model, str(model_path))
    assert main([str(model_path), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["accepted"] is False
    assert {"rule", "title", "severity", "node", "problem", "mend"} == set(told["findings"][0])


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (None, [], "cannot be read: No such file"),
        (b"", [], "holds no ONNX graph"),
        (b"PK\x03\x04 no model at all" * 20, [], "not an ONNX file"),
        (b"good", ["--tensorrt", "8.4"], "8.5 or later"),
        (b"good", ["--tensorrt", "newest"], "no version"),
        (b"good", ["--tensorrt", "12.0"], "not known yet"),
        (b"good", ["--trt", "10"], "unrecognized arguments"),
    ],
)
def test_wrong_input_ends_with_one_line(
    content: bytes | None, arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "given.onnx"
    if content == b"good":
        onnx.save(qdq.good_graph(), str(path))
    elif content is not None:
        path.write_bytes(content)
    assert main([str(path), *arguments]) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1


def test_version_may_be_written_in_full_or_in_part() -> None:
    assert [target(version).version for version in ("8.5.2.1", "10.3.0", "11", "11.x")] == [
        (8, 5),
        (10, 3),
        (11, 0),
        (11, 0),
    ]
    with pytest.raises(UserError, match="no version"):
        target("10.")
