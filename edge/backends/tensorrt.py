"""TensorRT: the front-end in float32 on the CPU, the encoder as an engine that was built on this board.

Opens what `edge.engines` built, and proves it with golden outputs of its own before anybody relies on it: INT8 and
float16 round otherwise than the graph for CPUs. Not yet run on hardware.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from edge.backends.base import Output
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle
from edge.engines.golden import check_outputs
from edge.engines.plan import check_known_bad, parse_version
from edge.engines.runtime import Runtime
from edge.engines.session import EngineSession, encoder_shapes
from edge.engines.store import check_sidecar, folder_of, read_engine, read_sidecar
from edge.errors import BundleError, EngineError

log = structlog.get_logger()


class TensorRtBackend:
    """Owns one engine, and ONNX Runtime for the front-end; one thread at a time calls `infer`.

    An engine that fails while it runs is given up: ONNX Runtime goes on, and `trouble` says why.
    """

    name = "tensorrt"

    def __init__(self, bundle: Bundle, runtime: Runtime, engines: Path, fallback: OnnxRuntimeBackend) -> None:
        """Open the bundle's engine under `engines` and compare its golden outputs.

        fallback: runs the front-end; its encoder stands by.

        Raises:
            EngineError: no engine, one of another machine or graph, or one that gives other outputs.
        """
        check_known_bad(parse_version(runtime.board.tensorrt), runtime.board.sm)
        folder = folder_of(bundle, engines)
        self.sidecar = read_sidecar(folder)
        check_sidecar(self.sidecar, bundle, runtime.board)
        self._fallback = fallback
        engine = read_engine(folder, self.sidecar)
        self.trouble = ""
        self._session = EngineSession(runtime, engine, encoder_shapes(bundle.manifest))
        try:
            check_outputs(bundle, self.sidecar.precision, self._session.run)
        except (EngineError, BundleError):
            self._session.close()
            raise

    def infer(self, waveform: NDArray[np.float32]) -> Output:
        """Run one window: (window_samples,) float32. Raises ValueError for another length."""
        if self.trouble:
            return self._fallback.infer(waveform)
        log_mel = self._fallback.log_mel(waveform)
        try:
            return Output(log_mel, *self._session.run(log_mel))
        except EngineError as error:
            self.trouble = f"no longer on TensorRT: {error}"
            log.warning("engine_failed", reason=str(error), action="onnxruntime goes on; see python -m edge verify")
            return self._fallback.infer(waveform)

    def close(self) -> None:
        """Give the device's memory back."""
        self._session.close()
