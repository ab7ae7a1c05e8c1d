"""Which way to quantise is chosen, and layers that cannot bear it stay float."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from align.corpora import Recording, read_table
from distill.student import Student
from quantize.calibration import RECIPES, float_nodes, quantised_nodes
from quantize.checkpoint import Checkpoint
from quantize.graph import export_encoder
from quantize.histograms import CALIBRATORS, Histogram, collect
from quantize.recordings import LabelledClip, load_labelled
from quantize.selection import Selector, Way, Windows, best, earns_its_bits, quantise_in
from quantize.windows import draw_windows, log_mels, loudest_windows


def _way(name: Any, sqnr_db: float, drop: float) -> Way:
    return Way(name, 8, sqnr_db=sqnr_db, cosine=0.999, drop=drop, label="cough")


def test_least_noise_wins_among_ways_that_hold() -> None:
    ways = [_way("minmax", 30.0, 0.001), _way("entropy", 35.0, 0.006), _way("percentile99.9", 25.0, 0.0)]
    assert best(ways).calibrator == "minmax"


def test_least_lost_auroc_wins_where_none_holds() -> None:
    ways = [_way("minmax", 30.0, 0.02), _way("entropy", 15.0, 0.01)]
    assert best(ways).calibrator == "entropy"


@pytest.mark.parametrize(
    ("narrow", "wider", "earned"),
    [
        ((30.0, 0.003), (40.0, 0.0025), False),
        ((30.0, 0.003), (40.0, 0.001), True),
        ((30.0, 0.0055), (40.0, 0.005), True),
        ((30.0, 0.006), (40.0, 0.0055), False),
    ],
)
def test_wider_weights_must_win_much_or_be_the_only_ones_that_hold(
    narrow: tuple[float, float], wider: tuple[float, float], earned: bool
) -> None:
    assert earns_its_bits(_way("minmax", *wider), _way("minmax", *narrow)) is earned


@pytest.mark.parametrize("change", [{"drop": 0.0051}, {"sqnr_db": 19.0}, {"cosine": 0.99}, {"drop": float("nan")}])
def test_way_that_misses_one_aim_does_not_hold(change: dict[str, float]) -> None:
    good = {"sqnr_db": 30.0, "cosine": 0.999, "drop": 0.0}
    assert Way("minmax", 8, **good).holds  # type: ignore[arg-type]
    assert not Way("minmax", 8, **(good | change)).holds  # type: ignore[arg-type]


def _encoder(path: Path, factors: list[float]) -> Path:
    """Scores are the bands of the log-mel (1, 4, 50), each times its factor, and the embedding is their mean."""
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["log_mel", "factors"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["scores"], perm=[0, 2, 1]),
            helper.make_node("ReduceMean", ["scaled"], ["embedding"], axes=[2], keepdims=0),
        ],
        "tiny",
        [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, [1, 4, 50])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 50, 4]),
        ],
        [numpy_helper.from_array(np.array(factors, np.float32).reshape(1, 4, 1), "factors")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_way_is_judged_by_the_label_that_loses_most_of_those_that_can_be_asked(tmp_path: Path) -> None:
    breath_cough = [(True, True), (True, False), (False, True), (False, False)]
    holds = [*((False, breath, cough, True) for breath, cough in breath_cough), (None, None, None, None)]
    values = np.array([[0, 9, 9, 0], [0, 8, 7, 0], [0, 7, 8, 0], [0, 6, 6, 0], [9, 5, 8.5, 0]], np.float32)
    recording = Recording(tmp_path, "own", "ann", "validation", "airborne", "")
    clips = [LabelledClip(recording, np.zeros(1, np.float32), 1.0, known) for known in holds]
    heard = np.repeat(values[:, :, np.newaxis], 50, axis=2)
    heard[:2, 1, 25:] = heard[[0, 2], 2, 25:] = 0.0  # what holds a label sounds for half of the window
    float32 = _encoder(tmp_path / "float32.onnx", [1, 1, 1, 1])
    windows = Windows(heard, clips, ["speech", "breath", "cough", "sound"], float32)
    same = windows.judge(_encoder(tmp_path / "same.onnx", [2, 2, 2, 2]), Way("minmax", 8))
    assert (same.drop, same.sqnr_db, same.cosine) == (0.0, pytest.approx(0.0), pytest.approx(1.0))
    worse = windows.judge(_encoder(tmp_path / "worse.onnx", [1, 1, 0, 1]), Way("minmax", 8))
    assert (worse.drop, worse.label) == (0.5, "cough")
    assert worse.cosine < 0.9


@pytest.fixture(scope="module")
def clips(recordings: Path, checkpoint: Checkpoint) -> list[LabelledClip]:
    return load_labelled([row for row in read_table(recordings) if row.split == "validation"], checkpoint)


def _prepared(
    checkpoint: Checkpoint, recordings: Path, clips: list[LabelledClip], path: Path
) -> tuple[dict[str, Histogram], Windows]:
    export_encoder(checkpoint, path, {})
    training = [row for row in read_table(recordings) if row.split == "train"]
    heard = log_mels(draw_windows(training, 30, 16_000, 16_000).windows, checkpoint.front_end)
    histograms = collect(path, RECIPES["cpu"].operators, heard)
    spoken = log_mels(loudest_windows(clips, 16_000), checkpoint.front_end)
    return histograms, Windows(spoken, clips, checkpoint.labels, path)


def test_every_calibrator_is_tried_and_every_layer_weighed(
    checkpoint: Checkpoint, recordings: Path, clips: list[LabelledClip], tmp_path: Path
) -> None:
    float32 = tmp_path / "float32.onnx"
    histograms, windows = _prepared(checkpoint, recordings, clips, float32)
    found = Selector(float32, histograms, windows, "cpu", tmp_path / "trial.onnx").select()
    assert [way.calibrator for way in found.tried[:4]] == list(CALIBRATORS)
    assert found.tried[4].weight_bits == 8
    assert found.chosen.holds
    assert found.chosen.kept_float == ()
    assert sorted(layer.layer for layer in found.layers) == sorted(quantised_nodes(float32))
    assert found.chosen == best(found.tried[:4])
    gains = [layer.gain_db for layer in found.layers]
    assert 0.0 < gains[0] < 0.5 * found.chosen.sqnr_db
    assert gains == sorted(gains, reverse=True)


def _spoilt(student: Student) -> Student:
    """The same function in float32, but a channel that nothing reads is so large that INT8 has no steps for others."""
    spoilt = copy.deepcopy(student)
    with torch.no_grad():
        spoilt.stem[1][1].bias[0] = 1e5  # type: ignore[index, union-attr, operator]
        spoilt.stem[2].body[0].weight[:, 0] = 0.0  # type: ignore[union-attr, index, operator]
        spoilt.stem[3][0].weight[:, 0] = 0.0  # type: ignore[index, union-attr, operator]
    return spoilt


def test_layers_go_back_to_float_until_it_holds(
    checkpoint: Checkpoint, recordings: Path, clips: list[LabelledClip], tmp_path: Path
) -> None:
    spoilt = Checkpoint(**{**vars(checkpoint), "student": _spoilt(checkpoint.student)})
    float32, int8 = tmp_path / "float32.onnx", tmp_path / "int8.onnx"
    histograms, windows = _prepared(spoilt, recordings, clips, float32)
    found = Selector(float32, histograms, windows, "cpu", tmp_path / "trial.onnx").select()
    assert not any(way.holds for way in found.tried[:5])
    assert found.chosen.holds
    assert len(found.chosen.kept_float) > 0
    quantise_in(found.chosen, float32, int8, histograms, "cpu")
    model = onnx.load(str(int8))
    floats = {tensor.name for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    kept = [node.name for node in model.graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in floats]
    assert sorted(kept) == sorted([*found.chosen.kept_float, *float_nodes(onnx.load(str(float32)))])


def test_loudest_window_holds_the_sound(clips: list[LabelledClip]) -> None:
    for clip, window in zip(clips, loudest_windows(clips, 8_000), strict=True):
        assert np.abs(window).max() == np.abs(clip.samples).max()
