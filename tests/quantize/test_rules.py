"""Every rule of TensorRT's linter on a graph that keeps it and on one that breaks it; and the program around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper

from edge.errors import UserError
from quantize.rules import Finding, lint, target
from quantize.rules.__main__ import main
from quantize.rules.linter import RULES
from tests import qdq
from tests.broken_graphs import (
    BROKEN,
    Break,
    before_sigmoid,
    first_in_int8,
    float_weights,
    head_in_int8,
    second_file,
    unsigned,
    varying_batch,
)

VERSIONS = ("8.5", "8.6", "10.3", "10.13", "11.x")


def findings(model: ModelProto, version: str = "10.3", **options: Any) -> list[Finding]:
    return list(lint(model, target(version), **options).findings)


@pytest.mark.parametrize("version", VERSIONS)
def test_good_graph_breaks_no_rule_of_any_version(version: str) -> None:
    found = lint(qdq.good_graph(), target(version))
    assert found.findings == ()
    assert found.int8_share > 0.95


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


def test_share_is_of_the_multiplications() -> None:
    stem, layer, head = 16 * 8 * 8 * 9, 16 * 8 * 8 * 9 * 16, 16 * 3
    model = qdq.good_graph()
    assert lint(model, target("10.3")).int8_share == pytest.approx(3 * layer / (3 * layer + stem + head))
    float_weights(model)
    assert lint(model, target("10.3")).int8_share == pytest.approx(2 * layer / (3 * layer + stem + head))


def test_pair_may_stand_before_a_pooling_that_it_can_be_moved_across() -> None:
    model = qdq.good_graph()
    qdq.insert(model, "right", "MaxPool", ["left_relu_dq"], "pooled", kernel_shape=[1, 1])
    qdq.reroute(model, "right", 0, "pooled")
    assert findings(model) == []


def test_constant_may_be_a_node() -> None:
    model = qdq.good_graph()
    (scale,) = (one for one in model.graph.initializer if one.name == "stem_relu_scale")
    model.graph.initializer.remove(scale)
    model.graph.node.insert(0, helper.make_node("Constant", [], ["stem_relu_scale"], name="scale", value=scale))
    assert findings(model) == []


def test_arithmetic_on_shapes_may_be_in_int64() -> None:
    model = qdq.good_graph()
    qdq.store(model, "half", np.array([1, 1, 2, 2]))
    qdq.insert(model, "pool", "Shape", ["last_relu"], "sizes")
    qdq.insert(model, "pool", "Div", ["sizes", "half"], "halved")
    assert 14 not in {finding.rule for finding in findings(model)}


def test_constant_that_is_added_is_no_skip_branch() -> None:
    model = qdq.good_graph()
    qdq.store(model, "shift", np.ones((1, qdq.CHANNELS, 1, 1), np.float32))
    qdq.insert(model, "last_relu", "Add", ["last", "shift"], "shifted")
    qdq.reroute(model, "last_relu", 0, "shifted")
    assert findings(model) == []


def test_scales_of_a_transposed_linear_layer_are_along_its_rows() -> None:
    model = qdq.good_graph()
    head_in_int8(model)
    assert {finding.rule for finding in findings(model)} == {12}


def test_output_channels_of_a_transposed_convolution_are_its_second_axis() -> None:
    model = qdq.good_graph()
    qdq.node(model, "left").op_type = "ConvTranspose"
    weights = qdq.constant(model, "left_w")
    weights[:, 5] = 0.0
    qdq.store(model, "left_w", weights)
    assert [finding.rule for finding in findings(model)] == [6, 6, 19]
    for name in ("left_w_q", "left_w_dq"):
        qdq.node(model, name).attribute[0].i = 1
    (dead,) = findings(model)
    assert "the first is 5" in str(dead)


def test_narrow_convolutions_are_told() -> None:
    found = findings(qdq.good_graph(channels=24))
    assert {finding.rule for finding in found} == {18}
    assert "24 channels in, 24 out" in str(found[0])


def test_convolution_that_is_narrow_on_one_side_is_told() -> None:
    model = qdq.good_graph()
    first_in_int8(model)
    assert [finding.problem[:25] for finding in findings(model) if finding.rule == 18] == ["1 channels in, 16 out: no"]
    model = qdq.good_graph()
    for name, shape in (("last_w", (24, 16, 3, 3)), ("last_b", (24,)), ("last_w_scale", (24,)), ("head_w", (24, 3))):
        qdq.store(model, name, np.full(shape, 0.01, np.float32))
    qdq.store(model, "last_w_zero", np.zeros(24, np.int8))
    assert [finding.problem[:26] for finding in findings(model)] == ["16 channels in, 24 out: no"]


def _depthwise_swish() -> ModelProto:
    model = qdq.good_graph()
    qdq.node(model, "left").attribute.append(helper.make_attribute("group", qdq.CHANNELS))
    qdq.store(model, "left_w", qdq.constant(model, "left_w")[:, :1])
    qdq.node(model, "left_relu").op_type = "HardSwish"
    return model


def test_depthwise_convolution_before_a_swish_fails_in_8_5_alone() -> None:
    assert [finding.rule for finding in lint(_depthwise_swish(), target("8.5.2")).errors] == [21]
    assert lint(_depthwise_swish(), target("8.6")).findings == ()
    in_float = _depthwise_swish()
    qdq.reroute(in_float, "left", 0, "stem_relu")
    qdq.reroute(in_float, "left", 1, "left_w")
    assert lint(in_float, target("8.5.2")).errors == ()


def test_depthwise_convolution_needs_scales_per_channel() -> None:
    model = _depthwise_swish()
    qdq.store(model, "left_w_scale", np.array(0.01, np.float32))
    qdq.store(model, "left_w_zero", np.zeros((), np.int8))
    assert any(finding.rule == 6 and "depthwise" in finding.problem for finding in findings(model))


def test_declared_dimension_may_vary() -> None:
    model = qdq.good_graph()
    varying_batch(model)
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
    qdq.store(model, "stem_relu_scale", np.array(1e-5, np.float16))
    assert 4 in {finding.rule for finding in lint(model, target("10.13")).errors}


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


@pytest.mark.parametrize(("spoil", "status", "rule"), [(unsigned, 1, 5), (second_file, 1, 16), (before_sigmoid, 0, 12)])
def test_program_refuses_a_broken_file_and_prints_json(
    spoil: Break, status: int, rule: int, model_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = onnx.load(str(model_path))
    spoil(model)
    onnx.save(model, str(model_path))
    assert main([str(model_path), "--json"]) == status
    told = json.loads(capsys.readouterr().out)
    assert told["accepted"] is (status == 0)
    assert told["findings"][0]["rule"] == rule
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
