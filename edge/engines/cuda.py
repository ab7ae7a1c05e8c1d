"""The few calls of the CUDA runtime that one small engine needs, through ctypes: memory, copies, a stream, a graph.

JetPack brings libcudart but no Python package for it. `cudaGraphInstantiateWithFlags` has had the same arguments since
CUDA 11.4, unlike `cudaGraphInstantiate`. Not yet run on hardware.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import EngineError

LIBRARIES = (
    "libcudart.so",
    "libcudart.so.13",
    "libcudart.so.12",
    "libcudart.so.11.0",
    "/usr/local/cuda/lib64/libcudart.so",
)
TO_DEVICE, TO_HOST = 1, 2
"""cudaMemcpyHostToDevice and cudaMemcpyDeviceToHost."""
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76
"""cudaDevAttrComputeCapabilityMajor and ...Minor."""
THREAD_LOCAL = 1
"""cudaStreamCaptureModeThreadLocal: other threads may go on with CUDA while this one captures."""


def load_cudart() -> Any:
    """The system's CUDA runtime.

    Raises:
        EngineError: there is none.
    """
    for name in LIBRARIES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise EngineError("libcudart is not installed; it comes with JetPack")


class Cuda:
    """One stream and everything allocated for it; closing it gives all back. One thread at a time uses it."""

    def __init__(self, library: Any) -> None:
        """library: as `load_cudart` gives it. Raises EngineError where there is no device."""
        self._library = library
        self._memory: list[ctypes.c_void_p] = []
        self._pinned: list[ctypes.c_void_p] = []
        self._graph: ctypes.c_void_p | None = None
        self._stream = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(self._stream), ctypes.c_uint(1))

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        return self._stream.value or 0

    def compute_capability(self) -> str:
        """Of the current device, as `8.7`."""
        found = []
        for attribute in (CAPABILITY_MAJOR, CAPABILITY_MINOR):
            value = ctypes.c_int()
            self._call("cudaDeviceGetAttribute", ctypes.byref(value), ctypes.c_int(attribute), ctypes.c_int(0))
            found.append(value.value)
        return f"{found[0]}.{found[1]}"

    def allocate(self, size_bytes: int) -> int:
        """Device memory; its address."""
        pointer = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(size_bytes))
        self._memory.append(pointer)
        return pointer.value or 0

    def host_array(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """An array of zeros in pinned memory, from which copies can be captured; not to be used after `close`."""
        pointer = ctypes.c_void_p()
        self._call("cudaMallocHost", ctypes.byref(pointer), ctypes.c_size_t(4 * math.prod(shape)))
        self._pinned.append(pointer)
        array: NDArray[np.float32] = np.ctypeslib.as_array(
            (ctypes.c_float * math.prod(shape)).from_address(pointer.value or 0)
        )
        array[:] = 0.0
        return array.reshape(shape)

    def copy_in(self, device: int, host: NDArray[np.float32]) -> None:
        """Queue a copy of a contiguous array to the device."""
        self._copy(ctypes.c_void_p(device), host.ctypes.data_as(ctypes.c_void_p), host.nbytes, TO_DEVICE)

    def copy_out(self, host: NDArray[np.float32], device: int) -> None:
        """Queue a copy from the device into a contiguous array."""
        self._copy(host.ctypes.data_as(ctypes.c_void_p), ctypes.c_void_p(device), host.nbytes, TO_HOST)

    def wait(self) -> None:
        """Until everything queued has run."""
        self._call("cudaStreamSynchronize", self._stream)

    def begin_capture(self) -> None:
        """Record what is queued from here on instead of running it."""
        self._call("cudaStreamBeginCapture", self._stream, ctypes.c_int(THREAD_LOCAL))

    def end_capture(self) -> None:
        """Make a graph of what was recorded, for `launch`."""
        graph, ready = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cudaStreamEndCapture", self._stream, ctypes.byref(graph))
        try:
            self._call("cudaGraphInstantiateWithFlags", ctypes.byref(ready), graph, ctypes.c_ulonglong(0))
        finally:
            self._library.cudaGraphDestroy(graph)
        self._graph = ready

    def launch(self) -> None:
        """Queue the captured graph."""
        self._call("cudaGraphLaunch", self._graph, self._stream)

    def close(self) -> None:
        """Give everything back; more than once is as good as once."""
        if self._graph is not None:
            self._library.cudaGraphExecDestroy(self._graph)
            self._graph = None
        while self._memory:
            self._library.cudaFree(self._memory.pop())
        while self._pinned:
            self._library.cudaFreeHost(self._pinned.pop())
        if self._stream.value:
            self._library.cudaStreamDestroy(self._stream)
            self._stream = ctypes.c_void_p()

    def _copy(self, to: ctypes.c_void_p, source: ctypes.c_void_p, size_bytes: int, kind: int) -> None:
        size = ctypes.c_size_t(size_bytes)
        self._call("cudaMemcpyAsync", to, source, size, ctypes.c_int(kind), self._stream)

    def _call(self, name: str, *arguments: Any) -> None:
        try:
            status = getattr(self._library, name)(*arguments)
        except AttributeError as error:
            raise EngineError(f"CUDA: this runtime has no {name}; 11.4 or later is needed") from error
        if status != 0:
            raise EngineError(f"CUDA: {name} failed with error {status}")
