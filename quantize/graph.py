"""The float32 graphs: the student and its front-end as ONNX.

One exporter, TorchScript's, because it keeps opset 17 (the dynamo exporter may write 18 whatever is asked, and moves
weights to a second file). It folds batch norm; that it did is checked. Quantising is `quantize.calibration`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from distill.frontend import OPSET, LogMel
from distill.student import Scorer, Student
from edge.backends.base import Output
from edge.backends.onnxruntime import OnnxRuntimeBackend
from quantize.checkpoint import Checkpoint
from quantize.errors import GateError
from quantize.rules import lint, read_model
from quantize.rules import target as tensorrt
from quantize.rules.linter import RULES

OLDEST_TENSORRT = "8.5"
"""Of JetPack 5.1; what it takes, later ones take too."""

PARITY_TOLERANCE = {"log_mel": 1e-2, "embedding": 1e-4, "scores": 1e-4}
"""Largest difference of a float32 output from torch's: rounding, not arithmetic. In the log-mel of a full-scale tone,
bands without sound are what is left of large products that cancel, so two orders of summation differ there by 1e-3."""


class TorchBackend:
    """The checkpoint behind the device's `Backend` protocol: what an exported graph is compared with."""

    name = "torch"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._log_mel = LogMel(checkpoint.front_end).eval()
        self._scorer = Scorer(checkpoint.student).eval()

    @torch.inference_mode()
    def infer(self, waveform: NDArray[np.float32]) -> Output:
        """Run one window (window_samples,)."""
        return self.encode(self._log_mel(torch.from_numpy(np.array(waveform))[None])[0].numpy())

    @torch.inference_mode()
    def encode(self, log_mel: NDArray[np.float32]) -> Output:
        """Run the encoder alone on a log-mel (mel, frames)."""
        embedding, scores = self._scorer(torch.from_numpy(log_mel)[None])
        return Output(log_mel, embedding[0].numpy(), scores[0].numpy())


def export_encoder(
    checkpoint: Checkpoint, path: Path, metadata: Mapping[str, str], *, free_batch: bool = False
) -> None:
    """Write the student with its sigmoid: log_mel (1, mel, frames) to embedding (1, D), scores (1, steps, labels).

    Batch and frames are fixed, which a board's runtime optimises best; with `free_batch` the first dimension of all
    three is free and named `batch`. `metadata` goes into the file's properties.

    Raises:
        GateError: the written graph is not what was asked for, see `check_graph`.
    """
    log_mel = torch.zeros(1, checkpoint.front_end.mel_bands, checkpoint.frames)
    write_student(checkpoint.student, path, log_mel, free_batch=free_batch)
    add_metadata(path, metadata)
    check_graph(path)


def write_student(student: Student, path: Path, log_mel: torch.Tensor, *, free_batch: bool = False) -> None:
    """Write a student with its sigmoid, for inputs of the shape of `log_mel` (1, mel, frames); nothing is checked."""
    with warnings.catch_warnings():
        # The exporter says at every call that a newer one exists; the module's header says why it is not used.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Scorer(student).eval(),
            (log_mel,),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["log_mel"],
            output_names=["embedding", "scores"],
            dynamic_axes={name: {0: "batch"} for name in ("log_mel", "embedding", "scores")} if free_batch else None,
        )


def add_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Add properties to an ONNX file; those that it has under other names stay."""
    model = onnx.load(str(path))
    kept = {entry.key: entry.value for entry in model.metadata_props}
    onnx.helper.set_model_props(model, dict(sorted({**kept, **metadata}.items())))
    onnx.save(model, str(path))


def check_graph(path: Path) -> None:
    """Read an encoder back and check what every runtime relies on.

    Raises:
        GateError: another opset than 17, a foreign operator domain, a batch norm that was not folded, weights in a
            second file, or a graph that the ONNX checker rejects.
    """
    model = onnx.load(str(path), load_external_data=False)
    opsets = {entry.domain or "ai.onnx": entry.version for entry in model.opset_import}
    if opsets.get("ai.onnx") != OPSET:
        raise GateError(f"{path.name} came out at opset {opsets.get('ai.onnx')}, expected {OPSET}")
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain})
    if foreign:
        raise GateError(f"{path.name} uses operators outside ONNX: {', '.join(foreign)}")
    unfolded = [node.name for node in model.graph.node if node.op_type == "BatchNormalization"]
    if unfolded:
        raise GateError(f"{path.name} has {len(unfolded)} batch norms that were not folded: {unfolded[0]}, ...")
    if any(weight.data_location == onnx.TensorProto.EXTERNAL for weight in model.graph.initializer):
        raise GateError(f"{path.name} keeps weights in a second file")
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise GateError(f"{path.name}: {str(error).splitlines()[0]}") from error


def check_target(path: Path, target: Literal["cpu", "jetson"]) -> list[str]:
    """Hold an encoder against what its target takes; say what was found, in words.

    Raises:
        GateError: the graph has what the oldest TensorRT that is served would refuse; the message names the node.
    """
    if target == "cpu":
        return []
    profile = [value.type.tensor_type.shape.dim[0].dim_param for value in onnx.load(str(path)).graph.input]
    found = lint(read_model(path), tensorrt(OLDEST_TENSORRT), [name for name in profile if name])
    if found.errors:
        raise GateError(f"{path.name} is nothing for TensorRT {OLDEST_TENSORRT}: {found.errors[0]}")
    return [f"TensorRT {OLDEST_TENSORRT} takes it by {len(RULES)} rules, {len(found.findings)} warnings"]


def check_parity(checkpoint: Checkpoint, exported: OnnxRuntimeBackend, windows: NDArray[np.float32]) -> float:
    """Compare a float32 export with torch on windows (n, window_samples), each graph on the same input.

    Returns:
        The largest absolute difference of the encoder's outputs.

    Raises:
        GateError: an output differs by more than `PARITY_TOLERANCE`; the message names it and the window.
    """
    reference = TorchBackend(checkpoint)
    largest = 0.0
    for index, window in enumerate(windows):
        actual = exported.infer(window)
        encoded = reference.encode(actual.log_mel)
        expected = {
            "log_mel": reference.infer(window).log_mel,
            "embedding": encoded.embedding,
            "scores": encoded.scores,
        }
        for name, tolerance in PARITY_TOLERANCE.items():
            error = np.abs(expected[name].astype(np.float64) - getattr(actual, name))
            # Negated, so that NaN fails too.
            if not error.max() <= tolerance:
                raise GateError(
                    f"{name} of window {index} differs from torch by up to {error.max():.3g} (mean {error.mean():.3g}, "
                    f"allowed {tolerance:g})"
                )
            if name != "log_mel":
                largest = max(largest, float(error.max()))
    return largest
