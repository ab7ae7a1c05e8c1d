"""ONNX Runtime on the CPU: one session for the front-end, one for the encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edge.backends.base import Output
from edge.bundle import Bundle
from edge.errors import BundleError, first_line


class OnnxRuntimeBackend:
    """Owns both sessions of a bundle; one thread at a time calls `infer`."""

    name = "onnxruntime"

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        """Load both models. `threads`: of one operator. Raises BundleError when a file is not the expected model."""
        manifest = bundle.manifest
        log_mel = [1, manifest.front_end.mel_bands, manifest.frames]
        scores = [1, manifest.steps, len(manifest.labels)]
        embedding = [1, manifest.embedding_size]
        self._window_samples = manifest.window_samples
        self._frontend = _session(bundle, bundle.frontend_path, threads)
        self._encoder = _session(bundle, bundle.encoder_path, threads)
        self._batches = all(_is_free(session) for session in (self._frontend, self._encoder))
        _check(bundle, self._frontend, {"waveform": [1, manifest.window_samples]}, {"log_mel": log_mel})
        _check(bundle, self._encoder, {"log_mel": log_mel}, {"embedding": embedding, "scores": scores})

    def log_mel(self, waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        """The front-end alone: (window_samples,) float32 to (mel_bands, frames). ValueError for another length."""
        if waveform.shape != (self._window_samples,):
            raise ValueError(f"expected {self._window_samples} samples, got {waveform.shape}")
        (log_mel,) = self._frontend.run(["log_mel"], {"waveform": waveform[np.newaxis]})
        return np.asarray(log_mel[0])

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        """Run one window: (window_samples,) float32. Raises ValueError for another length."""
        log_mel = self.log_mel(waveform)
        embedding, scores = self._encoder.run(["embedding", "scores"], {"log_mel": log_mel[np.newaxis]})
        return Output(log_mel, embedding[0], scores[0])

    def infer_batch(self, waveforms: NDArray[np.float32]) -> list[Output]:
        """Run (n, window_samples) windows: in one call where both models leave the batch free, else one by one."""
        if not self._batches:
            return [self.infer(waveform) for waveform in waveforms]
        (log_mels,) = self._frontend.run(["log_mel"], {"waveform": waveforms})
        embeddings, scores = self._encoder.run(["embedding", "scores"], {"log_mel": log_mels})
        # Copies: one window that is kept must not keep the whole batch.
        return [
            Output(*(array[row].copy() for array in (log_mels, embeddings, scores))) for row in range(len(waveforms))
        ]


def _is_free(session: ort.InferenceSession) -> bool:
    """Whether a model takes any number of windows at a time."""
    return all(not isinstance(node.shape[0], int) for node in (*session.get_inputs(), *session.get_outputs()))


def _session(bundle: Bundle, path: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A spinning thread keeps a core at 100 % between windows.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A memory plan for each size of batch takes up to 0.7 MB, and nothing is faster for it.
    options.enable_mem_pattern = False
    options.log_severity_level = 3  # errors; a warning about an optimisation is nothing that an operator can act on
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no public base class
        raise BundleError(f"bundle {bundle.path}: {path.name} cannot be loaded: {first_line(error)}") from error


def _check(
    bundle: Bundle, session: ort.InferenceSession, inputs: dict[str, list[int]], outputs: dict[str, list[int]]
) -> None:
    """Names must be the contract's; fixed dimensions must be the manifest's (a named dimension fits any)."""
    path = bundle.frontend_path if "waveform" in inputs else bundle.encoder_path
    for kind, declared, expected in (
        ("input", session.get_inputs(), inputs),
        ("output", session.get_outputs(), outputs),
    ):
        shapes = {node.name: node.shape for node in declared}
        for name, shape in expected.items():
            if not _fits(shapes.get(name), shape):
                raise BundleError(
                    f"bundle {bundle.path}: {path.name} has {kind}s {shapes}, the manifest asks for {name} {shape}"
                )


def _fits(declared: list[int | str | None] | None, expected: list[int]) -> bool:
    if declared is None or len(declared) != len(expected):
        return False
    return all(size == want or not isinstance(size, int) for size, want in zip(declared, expected, strict=True))
