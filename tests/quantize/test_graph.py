"""The float32 graphs: what a runtime finds in them, and that they compute what torch computes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from distill.student import Student
from edge.backends.base import Output
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle
from edge.errors import UserError
from quantize.bundling import draft_manifest, write_float32
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.errors import GateError
from quantize.golden import golden_windows
from quantize.graph import TorchBackend, check_graph, check_parity, check_target


@pytest.fixture(scope="module")
def bundle(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = Bundle(tmp_path_factory.mktemp("draft") / "float32", draft_manifest("tiny", "1.2.3", checkpoint))
    write_float32(bundle, checkpoint)
    return bundle


def test_encoder_has_opset_17_and_no_batch_norm_and_one_file(bundle: Bundle) -> None:
    model = onnx.load(str(bundle.encoder_path), load_external_data=False)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert sorted(path.name for path in bundle.path.iterdir()) == ["encoder.onnx", "frontend.onnx"]


def test_encoder_has_fixed_shapes_and_scores_between_0_and_1(bundle: Bundle) -> None:
    graph = onnx.load(str(bundle.encoder_path)).graph
    shapes = {
        value.name: [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {"log_mel": [1, 64, 98], "embedding": [1, 16], "scores": [1, 25, 3]}
    scores = OnnxRuntimeBackend(bundle).infer(np.ones(16_000, dtype=np.float32)).scores
    assert scores.min() >= 0.0 and scores.max() <= 1.0


def test_encoder_says_where_it_comes_from(bundle: Bundle, checkpoint: Checkpoint) -> None:
    properties = {entry.key: entry.value for entry in onnx.load(str(bundle.encoder_path)).metadata_props}
    assert properties["checkpoint_sha256"] == checkpoint.sha256
    assert json.loads(properties["labels"]) == ["cough", "breath", "speech"]
    assert (properties["name"], properties["version"], properties["precision"]) == ("tiny", "1.2.3", "float32")


def test_parity_with_torch_is_within_a_ten_thousandth(bundle: Bundle, checkpoint: Checkpoint) -> None:
    windows = golden_windows(16_000, 16_000)
    assert check_parity(checkpoint, OnnxRuntimeBackend(bundle), windows) <= 1e-4


def test_parity_fails_for_another_students_graph(bundle: Bundle, checkpoint: Checkpoint) -> None:
    torch.manual_seed(1)
    other = Checkpoint(**{**vars(checkpoint), "student": Student(checkpoint.student.shape).eval()})
    with pytest.raises(GateError, match="differs from torch by up to"):
        check_parity(other, OnnxRuntimeBackend(bundle), golden_windows(16_000, 16_000))


def test_parity_fails_for_what_is_no_number(bundle: Bundle, checkpoint: Checkpoint) -> None:
    class Broken(OnnxRuntimeBackend):
        def infer(self, waveform: NDArray[np.float32]) -> Output:
            return replace(super().infer(waveform), embedding=np.full(16, np.nan, np.float32))

    with pytest.raises(GateError, match="embedding of window 0 differs from torch by up to nan"):
        check_parity(checkpoint, Broken(bundle), golden_windows(16_000, 16_000))


def test_checkpoint_gives_the_averaged_weights(checkpoint: Checkpoint, student: Student) -> None:
    window = golden_windows(16_000, 16_000)[0]
    loaded = TorchBackend(checkpoint).infer(window)
    original = TorchBackend(Checkpoint(**{**vars(checkpoint), "student": student})).infer(window)
    np.testing.assert_array_equal(loaded.scores, original.scores)


def _with(path: Path, target: Path, *, opset: int = 17, node: onnx.NodeProto | None = None) -> Path:
    model = onnx.load(str(path))
    model.opset_import[0].version = opset
    if node is not None:
        model.graph.node.append(node)
    onnx.save(model, str(target))
    return target


def test_check_graph_refuses_another_opset(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(GateError, match="opset 18, expected 17"):
        check_graph(_with(bundle.encoder_path, tmp_path / "encoder.onnx", opset=18))


def test_check_graph_refuses_a_batch_norm(bundle: Bundle, tmp_path: Path) -> None:
    unfolded = onnx.helper.make_node("BatchNormalization", list("abcde"), ["f"], name="left")
    with pytest.raises(GateError, match=r"not folded: left"):
        check_graph(_with(bundle.encoder_path, tmp_path / "encoder.onnx", node=unfolded))


def test_check_graph_refuses_operators_of_one_runtime(bundle: Bundle, tmp_path: Path) -> None:
    foreign = onnx.helper.make_node("Gelu", ["scores"], ["g"], domain="com.microsoft")
    with pytest.raises(GateError, match=r"outside ONNX: com\.microsoft\.Gelu"):
        check_graph(_with(bundle.encoder_path, tmp_path / "encoder.onnx", node=foreign))


def test_checkpoint_that_is_missing_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; give a checkpoint") as caught:
        load_checkpoint(tmp_path / "none.ckpt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 broken"])
def test_file_that_is_no_checkpoint_is_told_in_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "best.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"best\.ckpt: not a checkpoint") as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value)


def test_checkpoint_of_another_program_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "other.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {"width": 3}}, path)
    with pytest.raises(UserError, match=r"not a checkpoint of distill\.train"):
        load_checkpoint(path)


def test_operator_that_tensorrt_lacks_is_named(bundle: Bundle, tmp_path: Path) -> None:
    foreign = onnx.helper.make_node("Bernoulli", ["scores"], ["drawn"], name="throws_dice")
    path = _with(bundle.encoder_path, tmp_path / "encoder.onnx", node=foreign)
    assert check_target(path, "cpu") == []
    with pytest.raises(GateError, match=r"nothing for TensorRT 8\.5: error: throws_dice"):
        check_target(path, "jetson")
