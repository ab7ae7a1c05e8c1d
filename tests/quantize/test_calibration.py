"""Calibration windows and the INT8 graph made with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import numpy_helper

from align.corpora import Recording, read_table
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle
from edge.errors import UserError
from quantize.bundling import draft_manifest, write_float32, write_int8
from quantize.calibration import float_nodes
from quantize.checkpoint import Checkpoint
from quantize.parity import output_error
from quantize.windows import CalibrationSet, draw_windows


@pytest.fixture(scope="module")
def training(recordings: Path) -> list[Recording]:
    return [row for row in read_table(recordings) if row.split == "train"]


@pytest.fixture(scope="module")
def calibration(training: list[Recording]) -> CalibrationSet:
    return draw_windows(training, 16, 16_000, 16_000)


@pytest.fixture(scope="module")
def bundles(
    checkpoint: Checkpoint, calibration: CalibrationSet, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Bundle, Bundle]:
    folder = tmp_path_factory.mktemp("drafts")
    draft = draft_manifest("tiny", "0.1.0", checkpoint)
    float32, int8 = Bundle(folder / "float32", draft), Bundle(folder / "int8", draft)
    write_float32(float32, checkpoint)
    write_int8(int8, float32, calibration)
    return float32, int8


def _tone(folder: Path, corpus: str, event: str, number: int, seconds: float, level: float) -> Recording:
    path = folder / f"{corpus}-{event}-{number}.wav"
    soundfile.write(path, np.full(round(seconds * 8000), level), 8000, subtype="FLOAT")
    return Recording(path, corpus, path.name, "train", "airborne", event)


def test_windows_come_from_every_corpus_and_event_in_turn(tmp_path: Path) -> None:
    rows = [_tone(tmp_path, "large", "cough", number, 2.0, 0.25) for number in range(20)]
    rows += [_tone(tmp_path, "large", "dog", 0, 2.0, 0.5), _tone(tmp_path, "small", "cough", 0, 2.0, 0.75)]
    drawn = draw_windows(rows, 30, 8000, 8000)
    assert drawn.strata == 3
    assert Counter(np.abs(drawn.windows).max(axis=1).tolist()) == {0.25: 10, 0.5: 10, 0.75: 10}


def test_recordings_of_one_corpus_and_event_come_in_turn_too(tmp_path: Path) -> None:
    rows = [_tone(tmp_path, "own", "cough", number, 2.0, 0.125 * number) for number in range(1, 6)]
    drawn = draw_windows(rows, 10, 8000, 8000)
    assert Counter(np.abs(drawn.windows).max(axis=1).tolist()) == {0.125 * number: 2 for number in range(1, 6)}


def test_recording_shorter_than_a_window_lies_whole_in_silence(tmp_path: Path) -> None:
    drawn = draw_windows([_tone(tmp_path, "own", "cough", 0, 0.25, 0.5)], 4, 8000, 8000)
    assert (np.count_nonzero(drawn.windows, axis=1) == 2000).all()
    starts = np.argmax(drawn.windows != 0, axis=1)
    assert len(set(starts.tolist())) == 4


def test_recording_that_is_no_audio_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("not a sound")
    row = Recording(tmp_path / "notes.wav", "own", "a", "train", "airborne", "cough")
    with pytest.raises(UserError, match=r"notes\.wav: cannot be decoded.*take it out of the table") as caught:
        draw_windows([row], 4, 8000, 8000)
    assert "\n" not in str(caught.value)


def test_index_hash_is_the_same_twice_and_another_for_other_windows(training: list[Recording]) -> None:
    first, again = draw_windows(training, 8, 16_000, 16_000), draw_windows(training[::-1], 8, 16_000, 16_000)
    other = draw_windows(training, 8, 16_000, 16_000, seed=1)
    assert first.index_sha256 == again.index_sha256
    np.testing.assert_array_equal(first.windows, again.windows)
    assert other.index_sha256 != first.index_sha256


def test_activations_are_uint8_and_weights_int8_per_channel(bundles: tuple[Bundle, Bundle]) -> None:
    model = onnx.load(str(bundles[1].encoder_path))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    activations = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    assert activations
    assert all(stored[node.input[2]].dtype == np.uint8 and stored[node.input[1]].ndim == 0 for node in activations)
    weights = [
        node
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in stored and stored[node.input[0]].dtype == np.int8
    ]
    weighted = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(weights) == len(weighted) - 3
    for node in weights:
        weight, scale = stored[node.input[0]], stored[node.input[1]]
        assert scale.shape == (weight.shape[0],)
        assert np.abs(weight.astype(int)).max() <= 64


def test_cpu_graph_adds_and_cuts_off_in_int8_and_gives_the_embedding_in_float(bundles: tuple[Bundle, Bundle]) -> None:
    model = onnx.load(str(bundles[1].encoder_path))
    produced = {name: node.op_type for node in model.graph.node for name in node.output}
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    adds = [node for node in model.graph.node if node.op_type == "Add"]
    assert adds
    for node in adds:
        assert [produced[name] for name in node.input] == ["DequantizeLinear"] * 2
        assert node.output[0] in quantised
    assert produced["embedding"] == "Gemm"


def test_first_convolution_and_what_makes_the_scores_stay_float(bundles: tuple[Bundle, Bundle]) -> None:
    excluded = float_nodes(onnx.load(str(bundles[0].encoder_path)))
    assert len(excluded) == 3
    model = onnx.load(str(bundles[1].encoder_path))
    stored = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = {node.name: node.input[1] for node in model.graph.node if node.op_type in ("Conv", "Gemm")}
    assert [stored.get(weights[name]) for name in excluded] == [onnx.TensorProto.FLOAT] * 3


@pytest.fixture(scope="module")
def for_jetson(
    bundles: tuple[Bundle, Bundle], calibration: CalibrationSet, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    int8 = Bundle(tmp_path_factory.mktemp("jetson") / "int8", bundles[0].manifest)
    write_int8(int8, bundles[0], calibration, "jetson")
    return int8


def test_jetson_graph_is_symmetric_int8_with_float_bias(bundles: tuple[Bundle, Bundle], for_jetson: Bundle) -> None:
    model = onnx.load(str(for_jetson.encoder_path))
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs
    for node in pairs:
        assert (stored[node.input[1]] > 0.0).all()
        assert stored[node.input[2]].dtype == np.int8 and not stored[node.input[2]].any()
    produced = {node.output[0]: node.op_type for node in model.graph.node}
    weights = [node.input[0] for node in pairs if stored[node.input[1]].ndim]
    excluded = float_nodes(onnx.load(str(bundles[0].encoder_path)))
    assert len(weights) == sum(node.op_type in ("Conv", "Gemm") for node in model.graph.node) - len(excluded)
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm"):
            expected = node.name not in excluded
            assert [produced.get(name) == "DequantizeLinear" for name in node.input[:2]] == [expected] * 2
            assert produced.get(node.input[2]) != "DequantizeLinear"
    assert all(stored[name].dtype == np.int8 for name in weights)


def test_jetson_graph_has_no_pair_between_a_convolution_and_its_relu_or_add(for_jetson: Bundle) -> None:
    model = onnx.load(str(for_jetson.encoder_path))
    produced = {name: node for node in model.graph.node for name in node.output}
    quantised = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    weights = {tensor.name for tensor in model.graph.initializer}
    assert {produced[name].op_type for name in quantised - weights} == {"Relu", "Concat"}
    adds = [node for node in model.graph.node if node.op_type == "Add"]
    assert adds
    for node in adds:
        assert sorted(produced[name].op_type for name in node.input) == ["Conv", "DequantizeLinear"]


def test_jetson_outputs_are_close_to_float32(
    bundles: tuple[Bundle, Bundle], for_jetson: Bundle, calibration: CalibrationSet
) -> None:
    error = output_error(OnnxRuntimeBackend(bundles[0]), OnnxRuntimeBackend(for_jetson), calibration.windows)
    assert error.cosine_min > 0.99
    assert error.sqnr_db > 20.0


def test_int8_graph_has_opset_17_and_names_its_calibration(
    bundles: tuple[Bundle, Bundle], calibration: CalibrationSet
) -> None:
    model = onnx.load(str(bundles[1].encoder_path))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 17
    assert properties["calibration_index_sha256"] == calibration.index_sha256
    assert properties["calibration_windows"] == "16"
    assert properties["labels"] == '["cough", "breath", "speech"]'


def test_int8_outputs_are_close_to_float32(bundles: tuple[Bundle, Bundle], calibration: CalibrationSet) -> None:
    float32, int8 = (OnnxRuntimeBackend(bundle) for bundle in bundles)
    error = output_error(float32, int8, calibration.windows)
    assert error.cosine_min > 0.99
    assert error.sqnr_db > 20.0
    assert 0.0 < error.max_score < 0.2
