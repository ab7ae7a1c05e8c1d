"""What a bundle for Jetson boards adds: graphs that the rules accept, float16 forms that compute the same, a script."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from align.corpora import read_table
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, check_golden, load_bundle, write_manifest
from edge.engines.golden import check_outputs
from edge.engines.plan import HALF_GRAPH, INT8_GRAPH, TYPED_GRAPH
from quantize.bundling import draft_manifest, write_float32, write_int8
from quantize.checkpoint import Checkpoint
from quantize.config import ExportSettings
from quantize.errors import GateError
from quantize.exporter import export
from quantize.golden import golden_windows, write_golden
from quantize.half import write_half
from quantize.jetson import BUILD_SCRIPT, LINT, LINTED, TOLERANCE, JetsonFiles, run_graph, write_jetson_files
from quantize.rules import lint, read_model, target
from quantize.windows import draw_windows
from tests import qdq


@pytest.fixture(scope="module")
def drafts(checkpoint: Checkpoint, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """A float32 bundle with its golden outputs, and the folder of its INT8 graph for TensorRT."""
    folder = tmp_path_factory.mktemp("drafts")
    draft = draft_manifest("tiny", "0.1.0", checkpoint).model_copy(update={"golden_tolerance": 1e-3})
    float32, int8 = Bundle(folder / "float32", draft), Bundle(folder / "int8", draft)
    training = [row for row in read_table(recordings) if row.split == "train"]
    write_float32(float32, checkpoint)
    write_int8(int8, float32, draw_windows(training, 16, 16_000, 16_000), target="jetson")
    windows = golden_windows(draft.window_samples, draft.front_end.sample_rate_hz)
    write_golden(float32.path / "golden.npz", windows, OnnxRuntimeBackend(float32))
    return float32, int8


@pytest.fixture(scope="module")
def added(drafts: tuple[Bundle, Bundle], tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, JetsonFiles]:
    """A whole bundle for Jetson boards."""
    float32, int8 = drafts
    folder = tmp_path_factory.mktemp("jetson") / "tiny"
    shutil.copytree(float32.path, folder)
    files = write_jetson_files(folder, int8.encoder_path)
    write_manifest(folder, float32.manifest.model_copy(update={"tensorrt_tolerance": dict(files.tolerance)}))
    return load_bundle(folder, allow_unsigned=True), files


def test_bundle_runs_as_any_other_and_lists_what_was_added(added: tuple[Bundle, JetsonFiles]) -> None:
    bundle, _ = added
    check_golden(bundle, OnnxRuntimeBackend(bundle))
    assert {*LINTED, LINT, BUILD_SCRIPT, "golden.tensorrt.npz", "golden.input.bin"} <= bundle.manifest.files.keys()
    assert bundle.manifest.tensorrt_tolerance == TOLERANCE


@pytest.mark.parametrize("version", ["8.5", "8.6", "10.3", "10.13", "11.x"])
def test_int8_graph_is_accepted_without_a_warning(added: tuple[Bundle, JetsonFiles], version: str) -> None:
    found = lint(read_model(added[0].path / INT8_GRAPH), target(version))
    # The corpus of the tests has a window head of zeros, and its embedding 16 values.
    assert [str(finding) for finding in found.findings if finding.rule != 19] == []
    assert found.int8_share > 0.9


def test_lint_report_tells_every_graph_and_version(added: tuple[Bundle, JetsonFiles]) -> None:
    told = json.loads((added[0].path / LINT).read_text())
    assert {entry["graph"] for entry in told} == set(LINTED)
    assert {entry["tensorrt"] for entry in told} == {"8.5", "8.6", "10.3", "10.13", "11.0"}
    assert all(entry["accepted"] for entry in told)


def test_float16_graphs_hold_float16_between_float32_ends(added: tuple[Bundle, JetsonFiles]) -> None:
    for name in (HALF_GRAPH, TYPED_GRAPH):
        model = onnx.load(str(added[0].path / name))
        ends = [*model.graph.input, *model.graph.output]
        assert {value.name: value.type.tensor_type.elem_type for value in ends} == dict.fromkeys(
            ("log_mel", "embedding", "scores"), TensorProto.FLOAT
        )
        kinds = {tensor.data_type for tensor in model.graph.initializer}
        assert TensorProto.FLOAT not in kinds and TensorProto.FLOAT16 in kinds


def test_no_cast_lies_between_a_pair_and_its_layer(added: tuple[Bundle, JetsonFiles]) -> None:
    """Behind a cast TensorRT would run the layer in float."""
    model = onnx.load(str(added[0].path / TYPED_GRAPH))
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    read = [made_by.get(node.input[0]) for node in model.graph.node if node.op_type == "Conv"]
    assert read.count("DequantizeLinear") >= len(read) - 2
    assert [node.op_type for node in model.graph.node].count("Cast") == 3


def test_float16_forms_compute_the_same(added: tuple[Bundle, JetsonFiles]) -> None:
    bundle, _ = added
    for precision, name in (("int8", TYPED_GRAPH), ("fp16", HALF_GRAPH)):

        def run(log_mel: np.ndarray, path: Path = bundle.path / name) -> tuple[np.ndarray, np.ndarray]:
            outputs = run_graph(path, log_mel[np.newaxis])
            return outputs["embedding"][0], outputs["scores"][0]

        check_outputs(bundle, precision, run)  # type: ignore[arg-type]


def test_golden_of_the_script_is_one_window_of_the_bundles(added: tuple[Bundle, JetsonFiles]) -> None:
    bundle, _ = added
    given = np.frombuffer((bundle.path / "golden.input.bin").read_bytes(), dtype="<f4")
    golden = bundle.golden()
    (row,) = np.flatnonzero((golden["log_mel"].reshape(len(golden["log_mel"]), -1) == given).all(axis=1))
    lines = [line.split() for line in (bundle.path / "golden.fp16.txt").read_text().splitlines()]
    values = np.array([float(value) for name, _, value in lines if name == "scores"])
    np.testing.assert_allclose(values, golden["scores"][row].ravel(), atol=1e-5)
    assert [int(place) for name, place, _ in lines if name == "embedding"] == list(range(golden["embedding"].shape[1]))


def test_same_graphs_give_the_same_bytes(added: tuple[Bundle, JetsonFiles], drafts: tuple[Bundle, Bundle]) -> None:
    float32, int8 = drafts
    folder = Path(shutil.copytree(float32.path, added[0].path.parent / "again"))
    write_jetson_files(folder, int8.encoder_path)
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    assert hashes == added[0].manifest.files


def test_graph_that_a_version_refuses_stops_the_export(drafts: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    float32, int8 = drafts
    folder, spoilt = Path(shutil.copytree(float32.path, tmp_path / "bundle")), tmp_path / "spoilt.onnx"
    model = onnx.load(str(int8.encoder_path))
    quantiser = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
    qdq.store(model, quantiser.input[1], np.zeros_like(qdq.constant(model, quantiser.input[1])))
    onnx.save(model, str(spoilt))
    with pytest.raises(GateError, match=r"TensorRT .* would refuse it: error: .*not above zero"):
        write_jetson_files(folder, spoilt)


def test_graph_with_a_free_batch_is_fixed_to_one_window(drafts: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    float32, int8 = drafts
    folder, free = Path(shutil.copytree(float32.path, tmp_path / "bundle")), tmp_path / "free.onnx"
    model = onnx.load(str(int8.encoder_path))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.save(model, str(free))
    write_jetson_files(folder, free)
    written = onnx.load(str(folder / INT8_GRAPH))
    assert {
        value.type.tensor_type.shape.dim[0].dim_value for value in (*written.graph.input, *written.graph.output)
    } == {1}


def test_weight_beyond_float16_is_told(tmp_path: Path) -> None:
    model = qdq.good_graph()
    qdq.store(model, "head_b", np.array([0.0, 1e5, 0.0], np.float32))
    with pytest.raises(GateError, match=r"half\.onnx: head_b holds 100000, too much for float16"):
        write_half(model, tmp_path / "half.onnx")


def test_scale_that_float16_cannot_hold_is_raised(tmp_path: Path) -> None:
    model = qdq.good_graph()
    weights, scales = qdq.constant(model, "left_w"), qdq.constant(model, "left_w_scale")
    weights[3], scales[3] = weights[3] * 1e-6, 1e-8
    qdq.store(model, "left_w", weights)
    qdq.store(model, "left_w_scale", scales)
    write_half(model, tmp_path / "half.onnx")
    written = onnx.load(str(tmp_path / "half.onnx"))
    assert qdq.constant(written, "left_w_scale").dtype == np.float16
    assert qdq.constant(written, "left_w_scale").min() == np.float16(2**-14)
    assert lint(written, target("10.13")).errors == ()


def test_constants_inside_nodes_become_float16_too(tmp_path: Path) -> None:
    model = qdq.good_graph()
    half = helper.make_tensor("half", TensorProto.FLOAT, [1], [0.5])
    qdq.insert(model, "head", "Constant", [], "factor", value=half)
    qdq.insert(model, "head", "Mul", ["flat", "factor"], "scaled")
    qdq.reroute(model, "head", 0, "scaled")
    write_half(model, tmp_path / "half.onnx")
    found = run_one(tmp_path / "half.onnx")
    onnx.save(model, str(tmp_path / "full.onnx"))
    np.testing.assert_allclose(found, run_one(tmp_path / "full.onnx"), atol=0.01)


def run_one(path: Path) -> np.ndarray:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, disabled_optimizers=["WeightBiasQuantization"])
    log_mel = np.random.default_rng(3).normal(0, 1, (1, 1, qdq.SIZE, qdq.SIZE)).astype(np.float32)
    return np.asarray(session.run(None, {"log_mel": log_mel})[0])


def test_without_int8_a_board_builds_float16_alone(drafts: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    float32, int8 = drafts
    folder = Path(shutil.copytree(float32.path, tmp_path / "bundle"))
    assert set(write_jetson_files(folder, int8.encoder_path, "float32").tolerance) == {"fp16"}


def test_export_for_jetson_makes_a_bundle_that_loads_and_says_what_was_not_tried(
    checkpoint_path: Path, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields: dict[str, Any] = {"calibration_windows": 300, "bootstrap_rounds": 100, "scenes": 1, "precision": "int8"}
    output = tmp_path / "tiny"
    settings = ExportSettings(
        checkpoint=checkpoint_path, recordings=recordings, name="tiny", output=output, target="jetson", **fields
    )
    assert export(settings) == 0
    told = capsys.readouterr().out
    assert "not run on hardware" in told and "next, on the board: python -m edge engine" in told
    bundle = load_bundle(output, allow_unsigned=True)
    check_golden(bundle, OnnxRuntimeBackend(bundle))
    assert set(bundle.manifest.tensorrt_tolerance) == {"int8", "fp16"}
    encoder = onnx.load(str(bundle.encoder_path))
    assert bundle.manifest.precision == "float32"
    assert not any(node.op_type == "QuantizeLinear" for node in encoder.graph.node)
    assert "**Not yet run on hardware.**" in (output / "card.md").read_text()
