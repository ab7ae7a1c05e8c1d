"""TensorRT: the front-end in float32 on the CPU, the encoder as an engine that was built on this board.

Opens what `edge.engines` built, and proves it with golden outputs of its own before anybody relies on it: INT8 and
float16 round otherwise than the graph for CPUs. Not yet run on hardware.
"""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Output
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle
from edge.engines.board import read_board
from edge.engines.build import Runtime
from edge.engines.cuda import Cuda, load_cudart
from edge.engines.golden import check_outputs
from edge.engines.plan import check_known_bad, parse_version
from edge.engines.session import EngineSession, encoder_shapes
from edge.engines.store import check_sidecar, folder_of, read_engine, read_sidecar
from edge.errors import BundleError, EngineError, first_line


def find_runtime() -> Runtime:
    """The system's TensorRT and the machine.

    Raises:
        EngineError: there is no TensorRT, no CUDA runtime or no GPU.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except Exception as error:  # a stub without its libraries fails in ways of its own
        raise EngineError(
            f"Python's module tensorrt cannot be loaded ({first_line(error)}); it comes with JetPack: make the virtual "
            "environment with --system-site-packages"
        ) from error
    cudart = load_cudart()
    cuda = Cuda(cudart)
    try:
        return Runtime(trt, cudart, read_board(str(trt.__version__), cuda.compute_capability()))
    finally:
        cuda.close()


class TensorRtBackend:
    """Owns the front-end's session and one engine; one thread at a time calls `infer`."""

    name = "tensorrt"

    def __init__(self, bundle: Bundle, runtime: Runtime, engines: Path, front_end: OnnxRuntimeBackend) -> None:
        """Open the bundle's engine under `engines` and compare its golden outputs.

        front_end: runs the front-end; its encoder stands by.

        Raises:
            EngineError: no engine, one of another machine or graph, or one that gives other outputs.
        """
        check_known_bad(parse_version(runtime.board.tensorrt), runtime.board.sm)
        folder = folder_of(bundle, engines)
        self.sidecar = read_sidecar(folder)
        check_sidecar(self.sidecar, bundle, runtime.board)
        self._front_end = front_end
        engine = read_engine(folder, self.sidecar)
        self._session = EngineSession(runtime.trt, runtime.cuda(), engine, encoder_shapes(bundle.manifest))
        try:
            check_outputs(bundle, self.sidecar.precision, self._session.run)
        except (EngineError, BundleError):
            self._session.close()
            raise

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        """Run one window: (window_samples,) float32. Raises ValueError for another length."""
        log_mel = self._front_end.log_mel(waveform)
        return Output(log_mel, *self._session.run(log_mel))

    def close(self) -> None:
        """Give the device's memory back."""
        self._session.close()
