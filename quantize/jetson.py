"""What a bundle for Jetson boards holds beside the files of every bundle, and the checks that need no TensorRT.

    encoder.int8.onnx       Q/DQ graph, built with --int8 --fp16 by TensorRT 8.5 to 10.11
    encoder.int8_fp16.onnx  the same with float16 between INT8 layers, for strongly typed builds from 10.12 on
    encoder.fp16.onnx       float16, what INT8 must be faster than
    golden.tensorrt.npz     their outputs on the golden windows, by ONNX Runtime in float32
    golden.input.bin, golden.{int8,fp16}.txt   one of those windows, for build_engine.sh, which has no Python
    lint.json               what the rules of each version say of each graph
    build_engine.sh         builds the engine on the board

encoder.onnx stays what ONNX Runtime runs there. None of this has been run on hardware.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

from edge.bundle import ENCODER
from edge.engines.distance import distance
from edge.engines.golden import GOLDEN
from edge.engines.plan import HALF_GRAPH, INT8_GRAPH, TYPED_GRAPH, Precision
from quantize.errors import GateError
from quantize.gate import Precision as Shipped
from quantize.half import write_half
from quantize.rules import lint, read_model, target

BUILD_SCRIPT = "build_engine.sh"
LINT = "lint.json"

LINTED: Mapping[str, tuple[str, ...]] = {
    INT8_GRAPH: ("8.5", "8.6", "10.3"),
    TYPED_GRAPH: ("10.13", "11.x"),
    HALF_GRAPH: ("8.5", "8.6", "10.3", "10.13", "11.x"),
}
"""The versions that build each graph."""

TOLERANCE: Mapping[Precision, float] = {"int8": 0.1, "fp16": 0.02}
"""Of an engine's golden outputs, see `edge.engines.distance`. Not yet confirmed on hardware."""

COSINE: Mapping[Precision, float] = {"int8": 0.99, "fp16": 0.9999}
"""Least cosine between embeddings of the graph for strongly typed builds and of the one that it was made from."""

Outputs = dict[str, NDArray[np.float32]]
"""`embedding` (n, embedding_size) and `scores` (n, steps, labels)."""


@dataclass(frozen=True)
class JetsonFiles:
    """What was written, for the manifest and for people."""

    tolerance: dict[Precision, float]
    """For the manifest's `tensorrt_tolerance`."""
    int8_share: float
    """Part of the multiply-accumulates that run in INT8."""
    words: tuple[str, ...]
    """What to print of it."""


def write_jetson_files(folder: Path, int8_encoder: Path, ships: Shipped = "int8") -> JetsonFiles:
    """Add the files for TensorRT to a float32 bundle's folder, which holds its golden.npz but not yet its manifest.

    Args:
        folder: of the bundle.
        int8_encoder: Q/DQ graph of the recipe `jetson`, see `quantize.calibration`.
        ships: float32 where INT8 is not to be used: a board then builds float16 alone.

    Raises:
        GateError: a rule that TensorRT would refuse a graph by, or a float16 form that computes something else.
    """
    float32_encoder = folder / ENCODER
    int8, float32 = _for_one_window(int8_encoder), _for_one_window(float32_encoder)
    onnx.save(int8, str(folder / INT8_GRAPH))
    write_half(int8, folder / TYPED_GRAPH)
    write_half(float32, folder / HALF_GRAPH)
    share = _lint(folder)
    with np.load(folder / "golden.npz", allow_pickle=False) as stored:
        log_mels: NDArray[np.float32] = stored["log_mel"]
    golden: dict[Precision, Outputs] = {
        "int8": run_graph(int8_encoder, log_mels),
        "fp16": run_graph(float32_encoder, log_mels),
    }
    worst = {
        "int8": _check_form(folder / TYPED_GRAPH, log_mels, golden["int8"], "int8"),
        "fp16": _check_form(folder / HALF_GRAPH, log_mels, golden["fp16"], "fp16"),
    }
    _write_golden(folder, log_mels, golden)
    # copyfile keeps no mode: the script is run as `sh build_engine.sh`.
    shutil.copyfile(Path(__file__).with_name(BUILD_SCRIPT), folder / BUILD_SCRIPT)
    return JetsonFiles(
        {precision: value for precision, value in TOLERANCE.items() if precision == "fp16" or ships == "int8"},
        share,
        (
            f"{share:.0%} of the multiplications in INT8",
            f"accepted by the rules of TensorRT {', '.join(LINTED[HALF_GRAPH])}",
            f"float16 moves outputs by {worst['fp16']:.1e} of their size, around INT8 layers by {worst['int8']:.1e}",
            "not run on hardware",
        ),
    )


def run_graph(path: Path, log_mels: NDArray[np.float32]) -> Outputs:
    """Outputs of a graph on log-mels (n, mel_bands, frames), by ONNX Runtime.

    Without its optimiser WeightBiasQuantization, which gives float16 biases a scale that underflows: with it the graph
    for strongly typed builds came out with a cosine of 0.8 (onnxruntime#22741).
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=["WeightBiasQuantization"]
    )
    names = ["embedding", "scores"]
    outputs = [session.run(names, {"log_mel": log_mel[np.newaxis]}) for log_mel in log_mels]
    return {name: np.concatenate([output[place] for output in outputs]) for place, name in enumerate(names)}


def _for_one_window(path: Path) -> onnx.ModelProto:
    """A graph whose first dimension is 1 where the file leaves it free: an engine is built for one window."""
    model = onnx.load(str(path))
    for value in (*model.graph.input, *model.graph.output):
        if (size := value.type.tensor_type.shape.dim[0]).dim_value != 1:
            size.dim_value = 1
            # What shape inference had written down names the free dimension.
            del model.graph.value_info[:]
    for entry in model.metadata_props:
        if entry.key == "max_batch":
            entry.value = "1"
    return model


def _lint(folder: Path) -> float:
    """Hold every graph against the versions that build it, and write what was found; the share of INT8."""
    found, share = [], 0.0
    for name, versions in LINTED.items():
        model = read_model(folder / name)
        for version in versions:
            result = lint(model, target(version))
            if result.errors:
                raise GateError(f"{name}: TensorRT {version} would refuse it: {result.errors[0]}")
            found.append({"graph": name, **result.to_dict()})
            share = max(share, result.int8_share)
    (folder / LINT).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return share


def _check_form(path: Path, log_mels: NDArray[np.float32], expected: Outputs, precision: Precision) -> float:
    """Compare a float16 form with the graph that it was made from; the largest distance, as golden outputs have it."""
    actual, worst = run_graph(path, log_mels), 0.0
    for name, golden in expected.items():
        found = distance(actual[name], golden)
        # Negated, so that NaN fails too.
        if not found <= TOLERANCE[precision]:
            raise GateError(
                f"{path.name}: {name} is {found:.3g} of its size away from the graph that it was made from, allowed is "
                f"{TOLERANCE[precision]:g}"
            )
        worst = max(worst, found)
    cosine = _cosine(actual["embedding"], expected["embedding"])
    if not cosine >= COSINE[precision]:
        raise GateError(f"{path.name}: embeddings with a cosine of {cosine:.4f}, at least {COSINE[precision]} is asked")
    return worst


def _cosine(left: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    """The least over rows."""
    norms = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1)
    return float(((left * right).sum(axis=1) / np.maximum(norms, 1e-12)).min())


def _write_golden(folder: Path, log_mels: NDArray[np.float32], golden: Mapping[Precision, Outputs]) -> None:
    arrays = {f"{name}_{precision}": value for precision, of in golden.items() for name, value in of.items()}
    np.savez_compressed(folder / GOLDEN, **arrays)  # type: ignore[arg-type]
    # The window whose scores reach highest: there a wrong engine shows most.
    row = int(golden["fp16"]["scores"].max(axis=(1, 2)).argmax())
    (folder / "golden.input.bin").write_bytes(log_mels[row].astype("<f4").tobytes())
    for precision, outputs in golden.items():
        lines = [
            f"{name} {place} {value:.7g}\n"
            for name, array in outputs.items()
            for place, value in enumerate(array[row].ravel())
        ]
        (folder / f"golden.{precision}.txt").write_text("".join(lines), encoding="ascii")
