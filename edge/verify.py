"""What `python -m edge verify` and `python -m edge engine` do: is this bundle right on this machine, line by line.

Does: opens the bundle, runs its golden inputs on every runtime that this machine has, and builds the engine where that
is asked for. Does not: read the graphs (`quantize.rules` does, where there is onnx), or run the daemon.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, check_golden
from edge.config import engines_folder
from edge.errors import BundleError, EngineError
from edge.pipeline import open_bundle
from edge.sections import BundleSettings

Tell = Callable[[str], None]


def verify(settings: BundleSettings, backend: Literal["onnxruntime", "tensorrt"] | None, tell: Tell = print) -> int:
    """Check a bundle on this machine and tell one line about each check.

    Args:
        settings: which bundle, which keys, where the engines are.
        backend: the only runtime to check; None: every one that there is.
        tell: takes the lines.

    Returns:
        Exit status: 0, or 1 when a check failed.

    Raises:
        BundleError: there is no such bundle, or it is incomplete, altered or not trusted.
    """
    bundle = open_bundle(settings)
    manifest = bundle.manifest
    labels = ", ".join(label.name for label in manifest.labels)
    tell(f"ok    {bundle.path}: {manifest.name}-{manifest.version}, {manifest.precision}, hears {labels}")
    tell("ok    hashes and trust hold")
    failed = 0
    if backend != "tensorrt":
        failed += _check(lambda: _on_onnxruntime(bundle), tell)
    if backend == "tensorrt" or (backend is None and _has_tensorrt(bundle, tell)):
        failed += _check_engine(bundle, engines_folder(settings), tell)
    return 1 if failed else 0


def build(settings: BundleSettings, tell: Tell = print, *, always: bool = False) -> int:
    """Build the bundle's engine for this board unless one that fits lies there, and prove it.

    Args:
        settings: which bundle, which keys, where the engines are.
        tell: takes a line about each step.
        always: build even where an engine fits.

    Returns:
        Exit status: 0, or 1 when the engine that was built gives other outputs than the golden ones.

    Raises:
        BundleError: there is no such bundle, or it is incomplete, altered or not trusted.
        EngineError: there is no TensorRT here, the bundle has no graphs for it, or the build failed.
    """
    from edge.engines.build import build_engine
    from edge.engines.runtime import find_runtime
    from edge.engines.store import check_sidecar, folder_of, read_engine, read_sidecar

    bundle, engines = open_bundle(settings), engines_folder(settings)
    folder, runtime = folder_of(bundle, engines), find_runtime()
    try:
        sidecar = read_sidecar(folder)
        check_sidecar(sidecar, bundle, runtime.board)
        read_engine(folder, sidecar)
        reason = "it was asked for" if always else ""
    except EngineError as error:
        reason = str(error)
    if reason:
        tell(f"building, which takes minutes, because {reason}")
        build_engine(bundle, runtime, engines, tell)
    return _check_engine(bundle, engines, tell)


def _check_engine(bundle: Bundle, engines: Path, tell: Tell) -> int:
    """Whether there is an engine for this machine, and if so, whether it is right; 1 when not."""
    return _check(lambda: _engine_fits(bundle, engines), tell) or _check(lambda: _on_tensorrt(bundle, engines), tell)


def _check(check: Callable[[], str], tell: Tell) -> int:
    """Tell what a check says, or why it failed; 1 when it failed."""
    try:
        tell(f"ok    {check()}")
    except (BundleError, EngineError) as error:
        tell(f"FAIL  {error}")
        return 1
    return 0


def _on_onnxruntime(bundle: Bundle) -> str:
    check_golden(bundle, OnnxRuntimeBackend(bundle))
    return f"golden outputs agree on onnxruntime within {bundle.manifest.golden_tolerance:g}"


def _engine_fits(bundle: Bundle, engines: Path) -> str:
    from edge.engines.runtime import find_runtime
    from edge.engines.store import check_sidecar, folder_of, read_engine, read_sidecar

    folder = folder_of(bundle, engines)  # a bundle without graphs is told before a machine without TensorRT
    board = find_runtime().board
    sidecar = read_sidecar(folder)
    check_sidecar(sidecar, bundle, board)
    read_engine(folder, sidecar)
    times = ", ".join(f"{precision} {value:.3f} ms" for precision, value in sidecar.median_ms.items())
    return (
        f"{folder}: {sidecar.precision} engine of {sidecar.graph} for TensorRT {sidecar.tensorrt}, compute capability "
        f"{sidecar.sm}, L4T {sidecar.l4t or 'none'} ({times or 'not timed'})"
    )


def _on_tensorrt(bundle: Bundle, engines: Path) -> str:
    from edge.backends.tensorrt import TensorRtBackend
    from edge.engines.runtime import find_runtime

    backend = TensorRtBackend(bundle, find_runtime(), engines, OnnxRuntimeBackend(bundle))
    tolerance = bundle.manifest.tensorrt_tolerance[backend.sidecar.precision]
    backend.close()
    return f"golden outputs agree on tensorrt within {tolerance:g} of their size"


def _has_tensorrt(bundle: Bundle, tell: Tell) -> bool:
    """Whether there is an engine to check; a bundle or a machine without TensorRT fails nothing."""
    from edge.engines.runtime import find_runtime

    if not bundle.manifest.tensorrt_tolerance:
        return False
    try:
        find_runtime()
    except EngineError as error:
        tell(f"skip  tensorrt: {error}")
        return False
    return True
