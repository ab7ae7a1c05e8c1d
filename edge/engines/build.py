"""Builds a bundle's engines with the system's TensorRT, times INT8 against float16, and keeps the faster.

A small net may be slower in INT8 than in float16, so both are built; one that does not give the golden outputs is not
kept, however fast. Minutes on a board. Not yet run on hardware.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.bundle import Bundle
from edge.engines.golden import check_outputs
from edge.engines.plan import PRECISIONS, Plan, Precision, check_known_bad, parse_version, plan
from edge.engines.runtime import Runtime, foreign_errors
from edge.engines.session import EngineSession, encoder_shapes
from edge.engines.store import Sidecar, folder_of, write_engine
from edge.errors import BundleError, EngineError

WORKSPACE_BYTES = 512 << 20


def build_engine(
    bundle: Bundle, runtime: Runtime, engines: Path, tell: Callable[[str], None] = lambda _line: None
) -> Sidecar:
    """Build what the bundle has graphs for, and put the fastest that is right into its folder under `engines`.

    tell: takes a line about each step.

    Raises:
        EngineError: no graphs, a combination that is known to fail, a build that fails, outputs that are not the
            golden ones, or a folder that cannot be written; an older engine stays as it is.
    """
    check_known_bad(parse_version(runtime.board.tensorrt), runtime.board.sm)
    folder = folder_of(bundle, engines)
    built = []
    for precision in (one for one in PRECISIONS if one in bundle.manifest.tensorrt_tolerance):
        built.append(_build_one(bundle, runtime, precision))
        tell(str(built[-1]))
    right = [one for one in built if not one.trouble]
    if not right:
        raise EngineError(f"no engine was kept: {built[-1].trouble}")
    fastest = min(right, key=lambda one: one.median_ms)
    board = runtime.board
    sidecar = Sidecar(
        engine_sha256=hashlib.sha256(fastest.engine).hexdigest(),
        precision=fastest.precision,
        graph=fastest.graph,
        graph_sha256=bundle.manifest.files[fastest.graph],
        tensorrt=board.tensorrt,
        sm=board.sm,
        l4t=board.l4t,
        model=board.model,
        power_mode=board.power_mode,
        median_ms={one.precision: round(one.median_ms, 4) for one in built},
        builder="edge",
    )
    write_engine(folder, fastest.engine, sidecar)
    tell(f"kept {fastest.precision}, the fastest that gives the golden outputs, in {folder}")
    return sidecar


@dataclass(frozen=True)
class _Built:
    precision: Precision
    graph: str
    engine: bytes
    median_ms: float
    trouble: str
    """Why it must not be used; empty where its outputs are the golden ones."""

    def __str__(self) -> str:
        size = f"{len(self.engine) / 1e6:.1f} MB, {self.median_ms:.3f} ms a window"
        return f"{self.precision} of {self.graph}: {size}{', refused: ' * bool(self.trouble)}{self.trouble}"


def _build_one(bundle: Bundle, runtime: Runtime, precision: Precision) -> _Built:
    how = plan(parse_version(runtime.board.tensorrt), precision)
    with foreign_errors():
        engine = _serialise(runtime, _read_graph(bundle, how.graph), how)
    session = EngineSession(runtime, engine, encoder_shapes(bundle.manifest))
    try:
        median_ms, trouble = session.median_ms(), ""
        try:
            check_outputs(bundle, precision, session.run)
        except EngineError as error:
            trouble = str(error)
    finally:
        session.close()
    return _Built(precision, how.graph, engine, median_ms, trouble)


def _read_graph(bundle: Bundle, name: str) -> bytes:
    """The graph's bytes, which must still be those of the manifest: the folder was checked a while ago."""
    try:
        content = (bundle.path / name).read_bytes()
    except OSError as error:
        raise BundleError(f"bundle {bundle.path}: {name} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != bundle.manifest.files.get(name):
        raise BundleError(f"bundle {bundle.path}: {name} is altered")
    return content


def _serialise(runtime: Runtime, graph: bytes, how: Plan) -> bytes:
    trt = runtime.trt
    builder = trt.Builder(runtime.logger)
    network = builder.create_network(_network_flags(trt, how))
    parser = trt.OnnxParser(network, runtime.logger)
    if not parser.parse(graph):
        told = [str(parser.get_error(place)).splitlines()[0] for place in range(parser.num_errors)]
        raise EngineError(f"TensorRT cannot read {how.graph}: {'; '.join(told)[:300] or 'it does not say why'}")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, WORKSPACE_BYTES)
    for flag in how.flags:
        config.set_flag(getattr(trt.BuilderFlag, flag))
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise EngineError(f"TensorRT could not build {how.graph}; what it wrote on standard error says why")
    return bytes(engine)


def _network_flags(trt: Any, how: Plan) -> int:
    names = trt.NetworkDefinitionCreationFlag
    if how.strongly_typed:
        return 1 << int(names.STRONGLY_TYPED)
    # 8.x knows networks without a batch axis and must be told that this is none; 10 has no others.
    return 1 << int(names.EXPLICIT_BATCH) if hasattr(names, "EXPLICIT_BATCH") else 0
