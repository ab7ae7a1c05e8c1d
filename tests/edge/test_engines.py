"""Engines: built by the right flags, bound to graph and machine, used only when they give the golden outputs."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.backends.tensorrt import TensorRtBackend
from edge.bundle import Bundle, load_bundle
from edge.engines.build import build_engine
from edge.engines.cuda import Cuda
from edge.engines.store import ENGINE, SIDECAR, check_sidecar, folder_of, read_engine, read_sidecar
from edge.errors import EngineError
from tests.engines import NAMES, VERSIONS, jetson_bundle, stand_in_runtime

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bundle(tiny_bundle_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = jetson_bundle(tiny_bundle_path, tmp_path_factory.mktemp("jetson") / "tiny")
    return load_bundle(folder, allow_unsigned=True)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    return tmp_path / "engines"


VARIABLES = {
    "builder": "Builder",
    "config": "IBuilderConfig",
    "parser": "OnnxParser",
    "self._engine": "ICudaEngine",
    "self._context": "IExecutionContext",
    "self._runtime": "Runtime",
}
"""What the code calls objects of TensorRT's classes."""
ABSENT_BY_DESIGN = {
    "11.1": {("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH")},
    "8.5": {("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")},
    "10.3": set(),
    "10.13": set(),
}
"""Names that a version lacks, and that the code uses with others alone."""


def _names_used() -> set[tuple[str, str]]:
    """Pairs of class and name that the code takes from the module `tensorrt`."""
    used: set[tuple[str, str]] = set()
    sources = [*(ROOT / "edge/engines").glob("*.py"), ROOT / "edge/backends/tensorrt.py"]
    for node in (node for path in sources for node in ast.walk(ast.parse(path.read_text()))):
        if not isinstance(node, ast.Attribute):
            continue
        owner = ast.unparse(node.value)
        if owner == "trt" and not node.attr.startswith("__"):
            used.add((node.attr, ""))
        elif owner in VARIABLES:
            used.add((VARIABLES[owner], node.attr))
        elif owner.startswith("trt."):
            used.add((owner.removeprefix("trt."), node.attr))
        elif owner == "names" and node.attr.isupper():
            used.add(("NetworkDefinitionCreationFlag", node.attr))
    return used


@pytest.mark.parametrize("version", list(VERSIONS))
def test_every_name_that_is_used_is_published(version: str) -> None:
    used = _names_used()
    assert {("Builder", "build_serialized_network"), ("IExecutionContext", "execute_async_v3")} <= used
    published = {(kind, name) for kind, names in NAMES[version].items() for name in ("", *names)}
    assert used - published == ABSENT_BY_DESIGN[version]


@pytest.mark.parametrize(
    ("version", "flags"),
    [("8.5", {"int8": ("INT8", "FP16"), "fp16": ("FP16",)}), ("10.3", {"int8": ("INT8", "FP16"), "fp16": ("FP16",)})],
)
def test_weakly_typed_builds_allow_precisions(version: str, flags: Any, bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime(version)
    build_engine(bundle, found, engines)
    names = found.trt.BuilderFlag
    assert [build.flags for build in found.trt.built] == [
        {getattr(names, flag) for flag in flags[precision]} for precision in ("int8", "fp16")
    ]
    explicit = 1 << found.trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH
    assert {build.network for build in found.trt.built} == {explicit}
    graphs = [(bundle.path / name).read_bytes() for name in ("encoder.int8.onnx", "encoder.fp16.onnx")]
    assert [build.graph for build in found.trt.built] == graphs


@pytest.mark.parametrize("version", ["10.13", "11.1"])
def test_strongly_typed_builds_take_the_numbers_of_the_graph(version: str, bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime(version)
    build_engine(bundle, found, engines)
    assert [build.flags for build in found.trt.built] == [set(), set()]
    typed = 1 << found.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert {build.network for build in found.trt.built} == {typed}
    graphs = [(bundle.path / name).read_bytes() for name in ("encoder.int8_fp16.onnx", "encoder.fp16.onnx")]
    assert [build.graph for build in found.trt.built] == graphs


@pytest.mark.parametrize("version", list(VERSIONS))
def test_engine_gives_the_outputs_of_the_graph(version: str, bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime(version)
    sidecar = build_engine(bundle, found, engines)
    assert set(sidecar.median_ms) == {"int8", "fp16"}
    fallback = OnnxRuntimeBackend(bundle)
    backend = TensorRtBackend(bundle, found, engines, fallback)
    waveform = bundle.golden()["waveform"][0]
    expected, actual = fallback.infer(waveform), backend.infer(waveform)
    np.testing.assert_allclose(actual.scores, expected.scores, atol=0.02)
    np.testing.assert_array_equal(actual.log_mel, expected.log_mel)
    assert found.cudart.launched > 0
    backend.close()
    assert found.cudart.memory == {}


def test_without_a_cuda_graph_it_runs_all_the_same(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    found.cudart.fails = {"cudaStreamBeginCapture"}
    build_engine(bundle, found, engines)
    backend = TensorRtBackend(bundle, found, engines, OnnxRuntimeBackend(bundle))
    assert backend.infer(bundle.golden()["waveform"][0]).scores.shape == (50, 2)
    assert found.cudart.launched == 0


def test_engine_of_other_outputs_is_not_kept(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    found.trt.error = 0.3
    told: list[str] = []
    with pytest.raises(EngineError, match="no engine was kept: the fp16 engine's embedding output is "):
        build_engine(bundle, found, engines, told.append)
    assert all("refused" in line for line in told)
    assert not engines.exists()


def test_nan_is_no_golden_output(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    found.trt.error = float("nan")
    with pytest.raises(EngineError, match="no engine was kept"):
        build_engine(bundle, found, engines)


def test_failed_build_leaves_the_older_engine(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    build_engine(bundle, found, engines)
    folder = folder_of(bundle, engines)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    found.trt.cannot_build = True
    with pytest.raises(EngineError, match=r"could not build encoder\.int8\.onnx"):
        build_engine(bundle, found, engines)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in engines.iterdir()] == [folder.name]


def test_operator_that_the_parser_lacks_is_named(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    found.trt.refuses = "Conv"
    with pytest.raises(EngineError, match=r"cannot read encoder\.int8\.onnx: .*no importer for Conv") as caught:
        build_engine(bundle, found, engines)
    assert "\n" not in str(caught.value)


def test_second_build_replaces_the_first(bundle: Bundle, engines: Path) -> None:
    build_engine(bundle, stand_in_runtime("8.5"), engines)
    build_engine(bundle, stand_in_runtime("10.3"), engines)
    assert read_sidecar(folder_of(bundle, engines)).tensorrt == "10.3.0"
    assert [path.name for path in engines.iterdir()] == [folder_of(bundle, engines).name]


def test_bundle_without_graphs_is_told(tiny_bundle: Bundle, engines: Path) -> None:
    with pytest.raises(EngineError, match="holds no graphs for TensorRT: export it with --target jetson"):
        build_engine(tiny_bundle, stand_in_runtime(), engines)


def _sidecar_fields(folder: Path, **changes: Any) -> None:
    path = folder / SIDECAR
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tensorrt": "10.7.0"}, "TensorRT 10.7.0, here it is 10.3.0"),
        ({"sm": "7.2"}, "compute capability 7.2, here it is 8.7"),
        ({"l4t": "36.3.0"}, "L4T 36.3.0, here it is 36.4.3"),
        ({"l4t": ""}, "L4T none, here it is 36.4.3"),
        ({"graph_sha256": "0" * 64}, "hash of the graph 000000000000"),
        ({"graph": "encoder.int8_fp16.onnx"}, "graph encoder.int8_fp16.onnx, here it is encoder."),
        ({"precision": "int4"}, "precision: Input should be 'int8' or 'fp16'"),
        ({"engine_sha256": "0" * 64}, "altered since it was built"),
    ],
)
def test_engine_of_something_else_is_refused(changes: Any, words: str, bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    build_engine(bundle, found, engines)
    _sidecar_fields(folder_of(bundle, engines), **changes)
    with pytest.raises(EngineError, match="build it again") as caught:
        TensorRtBackend(bundle, found, engines, OnnxRuntimeBackend(bundle))
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_engine_that_tensorrt_does_not_take_is_refused(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    build_engine(bundle, found, engines)
    found.trt.__version__ = "10.3.1"
    with pytest.raises(EngineError, match="TensorRT refuses the engine"):
        TensorRtBackend(bundle, found, engines, OnnxRuntimeBackend(bundle))


@pytest.mark.parametrize("damage", ["no file", "no JSON", "no engine"])
def test_damaged_folder_is_told(damage: str, bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    build_engine(bundle, found, engines)
    folder = folder_of(bundle, engines)
    if damage == "no file":
        (folder / SIDECAR).unlink()
    elif damage == "no JSON":
        (folder / SIDECAR).write_text("{")
    else:
        (folder / ENGINE).unlink()
    words = {"no file": "no engine has been built", "no JSON": "not JSON", "no engine": "cannot be read"}[damage]
    with pytest.raises(EngineError, match=words):
        TensorRtBackend(bundle, found, engines, OnnxRuntimeBackend(bundle))


def test_sidecar_reads_what_was_written(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    sidecar = build_engine(bundle, found, engines)
    folder = folder_of(bundle, engines)
    assert read_sidecar(folder) == sidecar
    check_sidecar(sidecar, bundle, found.board)
    assert read_engine(folder, sidecar).startswith(b"10.3.0\n")


def test_engine_that_cannot_be_queued_is_refused(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    found.trt.cannot_run = True
    with pytest.raises(EngineError, match="TensorRT could not run the engine"):
        build_engine(bundle, found, engines)
    assert found.cudart.memory == {}


def test_runtime_too_old_for_graphs_is_told_and_does_without(bundle: Bundle, engines: Path) -> None:
    found = stand_in_runtime()
    found.cudart.lacks = {"cudaGraphInstantiateWithFlags"}
    build_engine(bundle, found, engines)
    assert found.cudart.launched == 0
    found.cudart.lacks = {"cudaMalloc"}
    with pytest.raises(EngineError, match=r"has no cudaMalloc; 11\.4 or later"):
        Cuda(found.cudart).allocate(4)


def test_unwritable_folder_is_told(bundle: Bundle, engines: Path) -> None:
    engines.write_text("a file")
    with pytest.raises(EngineError, match="cannot be written"):
        build_engine(bundle, stand_in_runtime(), engines)


def test_graph_altered_since_it_was_loaded_is_not_built(bundle: Bundle, engines: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    loaded = load_bundle(folder, allow_unsigned=True)
    (folder / "encoder.fp16.onnx").write_bytes(b"something else")
    with pytest.raises(Exception, match=r"encoder\.fp16\.onnx is altered"):
        build_engine(loaded, stand_in_runtime(), engines)
