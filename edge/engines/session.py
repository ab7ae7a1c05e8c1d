"""One deserialised engine with its buffers: log-mel in, embedding and scores out.

Does: load, check names and shapes, warm up, capture a CUDA graph where that works, run, time. Does not: build
(`edge.engines.build`), judge the outputs, or run the front-end. Not yet run on hardware.
"""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.engines.runtime import Runtime, foreign_errors
from edge.errors import EngineError
from edge.manifest import Manifest

WARM_UP, TIMED = 20, 200


def encoder_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the encoder's input and outputs."""
    return {
        "log_mel": (1, manifest.front_end.mel_bands, manifest.frames),
        "embedding": (1, manifest.embedding_size),
        "scores": (1, manifest.steps, len(manifest.labels)),
    }


class EngineSession:
    """Owns an engine, its context and its device memory; one thread at a time calls `run`."""

    def __init__(self, runtime: Runtime, engine: bytes, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Load an engine.

        Args:
            runtime: the system's.
            engine: as `edge.engines.store.read_engine` gives it.
            shapes: of `encoder_shapes`.

        Raises:
            EngineError: TensorRT does not take the engine, or it is not of such an encoder.
        """
        self._has_graph = False
        with foreign_errors():
            self._open(runtime, engine, shapes)

    def _open(self, runtime: Runtime, engine: bytes, shapes: Mapping[str, tuple[int, ...]]) -> None:
        trt = runtime.trt
        # The runtime and the engine must live as long as the context.
        self._runtime = trt.Runtime(runtime.logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise EngineError("TensorRT refuses the engine: it was built by another version or for another GPU")
        self._check(trt, shapes)
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError("TensorRT has no memory for the engine")
        self._cuda = runtime.cuda()
        try:
            self._host = {name: self._cuda.host_array(shape) for name, shape in shapes.items()}
            self._device = {name: self._cuda.allocate(array.nbytes) for name, array in self._host.items()}
            for name, address in self._device.items():
                self._context.set_tensor_address(name, address)
            self._warm_up()
        except Exception:
            self._cuda.close()
            raise

    def run(self, log_mel: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Run one log-mel (mel_bands, frames).

        Returns:
            Embedding (embedding_size,) and scores (steps, labels), copies.

        Raises:
            EngineError: CUDA or TensorRT failed.
        """
        with foreign_errors():
            self._host["log_mel"][0] = log_mel
            if self._has_graph:
                self._cuda.launch()
            else:
                self._queue()
            self._cuda.wait()
        return self._host["embedding"][0].copy(), self._host["scores"][0].copy()

    def median_ms(self, rounds: int = TIMED) -> float:
        """Median time of a run, with its copies, in milliseconds."""
        log_mel, taken = self._host["log_mel"][0].copy(), []
        for _ in range(rounds):
            start = time.perf_counter()
            self.run(log_mel)
            taken.append(time.perf_counter() - start)
        return 1e3 * statistics.median(taken)

    def close(self) -> None:
        """Give the device's memory back."""
        self._context = self._engine = self._runtime = None
        self._host.clear()
        self._cuda.close()

    def _check(self, trt: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        names = [self._engine.get_tensor_name(place) for place in range(self._engine.num_io_tensors)]
        found = {name: tuple(self._engine.get_tensor_shape(name)) for name in names}
        types = {self._engine.get_tensor_dtype(name) for name in names}
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        if found != dict(shapes) or inputs != ["log_mel"] or types != {trt.DataType.FLOAT}:
            raise EngineError(f"the engine has {found}, the bundle asks for {dict(shapes)} in float32: build it again")

    def _queue(self) -> None:
        self._cuda.copy_in(self._device["log_mel"], self._host["log_mel"])
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EngineError("TensorRT could not run the engine")
        for name in ("embedding", "scores"):
            self._cuda.copy_out(self._host[name], self._device[name])

    def _warm_up(self) -> None:
        """Run until lazy loading is over, then record one run; without a recording it runs all the same, slower."""
        for _ in range(WARM_UP):
            self._queue()
        self._cuda.wait()
        with contextlib.suppress(EngineError), foreign_errors():
            self._cuda.begin_capture()
            try:
                self._queue()
            finally:
                self._cuda.end_capture()
            self._has_graph = True
