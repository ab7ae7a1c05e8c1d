"""A bundle with graphs for TensorRT, and stand-ins for what only a board has: the module, the CUDA runtime, trtexec.

The stand-in module has the names that NVIDIA's bindings of one version publish (`tensorrt_names.json`) and no others.
What it builds is the graph itself, which ONNX Runtime then runs; so outputs are right unless a test spoils them.
"""

from __future__ import annotations

import ctypes
import json
import shutil
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort

from edge.bundle import load_bundle, write_manifest
from edge.engines.board import Board
from edge.engines.runtime import Runtime
from quantize.jetson import write_jetson_files

NAMES: dict[str, Any] = json.loads(Path(__file__).with_name("tensorrt_names.json").read_text())
VERSIONS = {"8.5": "8.5.2.2", "10.3": "10.3.0", "10.13": "10.13.3.9", "11.1": "11.1.0"}


def jetson_bundle(float32_bundle: Path, folder: Path) -> Path:
    """A copy of a float32 bundle with the files for TensorRT; the graph called INT8 is float32, too."""
    shutil.copytree(float32_bundle, folder)
    manifest = load_bundle(folder, allow_unsigned=True).manifest
    files = write_jetson_files(folder, folder / "encoder.onnx")
    write_manifest(folder, manifest.model_copy(update={"tensorrt_tolerance": dict(files.tolerance)}))
    return folder


class StandInCuda:
    """The CUDA runtime's calls on ordinary memory; a captured graph is the list of what was queued."""

    def __init__(self) -> None:
        self.fails: set[str] = set()
        self.lacks: set[str] = set()
        self.memory: dict[int, Any] = {}
        self.launched = 0
        self.recorded: list[Any] | None = None
        self.graph: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda") or name in self.lacks:
            raise AttributeError(name)
        return lambda *arguments: 801 if name in self.fails else (getattr(self, f"_{name}")(*arguments) or 0)

    def queue(self, work: Any) -> None:
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)

    def _cudaStreamCreateWithFlags(self, stream: Any, _flags: Any) -> None:  # noqa: N802
        stream._obj.value = 77

    def _cudaDeviceGetAttribute(self, value: Any, attribute: Any, _device: Any) -> None:  # noqa: N802
        value._obj.value = {75: 8, 76: 7}[attribute.value]

    def _cudaMalloc(self, pointer: Any, size: Any) -> None:  # noqa: N802
        block = ctypes.create_string_buffer(size.value)
        self.memory[ctypes.addressof(block)] = block
        pointer._obj.value = ctypes.addressof(block)

    _cudaMallocHost = _cudaMalloc  # noqa: N815

    def _cudaFree(self, pointer: Any) -> None:  # noqa: N802
        del self.memory[pointer.value]

    _cudaFreeHost = _cudaFree  # noqa: N815

    def _cudaMemcpyAsync(self, to: Any, source: Any, size: Any, _kind: Any, _stream: Any) -> None:  # noqa: N802
        to_address, source_address, count = to.value, source.value, size.value
        self.queue(lambda: ctypes.memmove(to_address, source_address, count))

    def _cudaStreamSynchronize(self, _stream: Any) -> None:  # noqa: N802
        pass

    def _cudaStreamBeginCapture(self, _stream: Any, _mode: Any) -> None:  # noqa: N802
        self.recorded = []

    def _cudaStreamEndCapture(self, _stream: Any, graph: Any) -> None:  # noqa: N802
        self.graph, self.recorded = self.recorded or [], None
        graph._obj.value = 5

    def _cudaGraphInstantiateWithFlags(self, ready: Any, _graph: Any, _flags: Any) -> None:  # noqa: N802
        ready._obj.value = 6

    def _cudaGraphLaunch(self, _graph: Any, _stream: Any) -> None:  # noqa: N802
        self.launched += 1
        for work in self.graph:
            work()

    def _cudaGraphDestroy(self, _graph: Any) -> None:  # noqa: N802
        pass

    def _cudaGraphExecDestroy(self, _graph: Any) -> None:  # noqa: N802
        pass

    def _cudaStreamDestroy(self, _stream: Any) -> None:  # noqa: N802
        pass


class StandInTensorRt(ModuleType):
    """The module `tensorrt` of one version, on the memory of a `StandInCuda`."""

    def __init__(self, version: str, cuda: StandInCuda) -> None:
        super().__init__("tensorrt")
        self.__version__ = VERSIONS[version]
        self.published = NAMES[version]
        self.cuda = cuda
        self.built: list[SimpleNamespace] = []
        """Of every build: the network's flags, the builder's flags, the graph's bytes."""
        self.refuses = ""
        """Operator that the parser does not know."""
        self.cannot_build = False
        self.error = 0.0
        """Added to every output."""
        self.cannot_run = False
        self.raises = ""
        """Of a call of the context: what pybind would raise."""
        for kind in ("NetworkDefinitionCreationFlag", "BuilderFlag", "MemoryPoolType", "TensorIOMode", "DataType"):
            setattr(self, kind, SimpleNamespace(**{name: at for at, name in enumerate(self.published[kind])}))
        self.Logger = type("Logger", (), {"__init__": lambda _self, _severity: None, "WARNING": 2, "ERROR": 1})
        self.Builder = lambda _logger: self._only("Builder", _Builder(self))
        self.OnnxParser = lambda network, _logger: self._only("OnnxParser", _Parser(self, network))
        self.Runtime = lambda _logger: self._only("Runtime", _Runtime(self))

    def _only(self, kind: str, thing: Any) -> Any:
        """A stand-in that has nothing which the published class has not."""
        added = {name for name in vars(type(thing)) if not name.startswith("_")}
        assert added <= set(self.published[kind]), f"{kind} of {self.__version__} has no {added}"
        return thing


class _Builder:
    def __init__(self, trt: StandInTensorRt) -> None:
        self._trt = trt

    def create_network(self, flags: int = 0) -> Any:
        return SimpleNamespace(flags=flags, graph=b"")

    def create_builder_config(self) -> Any:
        return self._trt._only("IBuilderConfig", _Config())

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        self._trt.built.append(SimpleNamespace(network=network.flags, flags=config._flags, graph=network.graph))
        return None if self._trt.cannot_build else memoryview(self._trt.__version__.encode() + b"\n" + network.graph)


class _Config:
    def __init__(self) -> None:
        self._flags: set[int] = set()
        self._pools: dict[int, int] = {}

    def set_flag(self, flag: int) -> None:
        self._flags.add(flag)

    def set_memory_pool_limit(self, pool: int, size: int) -> None:
        self._pools[pool] = size


class _Parser:
    def __init__(self, trt: StandInTensorRt, network: Any) -> None:
        self._trt, self._network = trt, network

    def parse(self, graph: bytes) -> bool:
        self._network.graph = graph
        return not (self._trt.refuses and self._trt.refuses.encode() in graph)

    @property
    def num_errors(self) -> int:
        return 1

    def get_error(self, _place: int) -> str:
        return f"In node 3 (parseNode): UNSUPPORTED_NODE: no importer for {self._trt.refuses}"


class _Runtime:
    def __init__(self, trt: StandInTensorRt) -> None:
        self._trt = trt

    def deserialize_cuda_engine(self, engine: bytes) -> Any:
        version, _, graph = bytes(engine).partition(b"\n")
        if version.decode(errors="replace") != self._trt.__version__:
            return None
        return self._trt._only("ICudaEngine", _Engine(self._trt, graph))


class _Engine:
    def __init__(self, trt: StandInTensorRt, graph: bytes) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self._trt = trt
        self._session = ort.InferenceSession(graph, options, disabled_optimizers=["WeightBiasQuantization"])
        self._values = [*self._session.get_inputs(), *self._session.get_outputs()]

    @property
    def num_io_tensors(self) -> int:
        return len(self._values)

    def get_tensor_name(self, place: int) -> str:
        return str(self._values[place].name)

    def get_tensor_shape(self, name: str) -> list[int]:
        return next(list(value.shape) for value in self._values if value.name == name)

    def get_tensor_dtype(self, _name: str) -> int:
        return int(self._trt.DataType.FLOAT)

    def get_tensor_mode(self, name: str) -> int:
        modes = self._trt.TensorIOMode
        return int(modes.INPUT if name == self._session.get_inputs()[0].name else modes.OUTPUT)

    def create_execution_context(self) -> Any:
        return self._trt._only("IExecutionContext", _Context(self))


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine, self._addresses = engine, dict[str, int]()

    def set_tensor_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def execute_async_v3(self, _stream: int) -> bool:
        trt, session = self._engine._trt, self._engine._session

        if trt.raises:
            raise RuntimeError(trt.raises)

        def work() -> None:
            given = {value.name: self._array(value) for value in session.get_inputs()}
            for value, found in zip(session.get_outputs(), session.run(None, given), strict=True):
                self._array(value)[:] = found + trt.error

        trt.cuda.queue(work)
        return not trt.cannot_run

    def _array(self, value: Any) -> Any:
        count = int(np.prod(value.shape))
        memory = (ctypes.c_float * count).from_address(self._addresses[value.name])
        return np.ctypeslib.as_array(memory).reshape(value.shape)


def stand_in_runtime(version: str = "10.3") -> Runtime:
    """An Orin with that TensorRT."""
    cuda = StandInCuda()
    trt = StandInTensorRt(version, cuda)
    return Runtime(trt, trt.Logger(trt.Logger.WARNING), cuda, Board(trt.__version__, "8.7", "36.4.3", "Orin", "15W"))
