"""Which runtime computes: an engine that has proved itself on this board, else ONNX Runtime, and why not the engine.

Nothing is built here: a device that should be listening does not spend minutes on it. `python -m edge engine` builds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from edge.backends.base import Backend
from edge.bundle import Bundle, check_golden
from edge.errors import BundleError, EngineError

Kind = Literal["auto", "onnxruntime", "tensorrt"]


@dataclass(frozen=True)
class Choice:
    """A runtime whose golden outputs agree, and what there is to say about it."""

    backend: Backend
    trouble: Callable[[], str] = lambda: ""
    """Why TensorRT does not run although it was asked for or this board has it; empty where all is as wanted."""


def choose_backend(bundle: Bundle, kind: Kind, engines: Path) -> Choice:
    """Open the bundle and prove it with its golden outputs.

    `auto` takes TensorRT where the system has it and the bundle has graphs for it, without a word where not. ONNX
    Runtime goes on wherever the engine cannot be used.

    Args:
        bundle: loaded.
        kind: of the setting `bundle.backend`.
        engines: folder of the engines built on this board.

    Raises:
        BundleError: the models cannot be run, or ONNX Runtime gives other outputs than the golden ones.
    """
    from edge.backends.onnxruntime import OnnxRuntimeBackend

    fallback = OnnxRuntimeBackend(bundle)
    why = ""
    is_wanted = kind == "tensorrt" or (
        kind == "auto" and bool(bundle.manifest.tensorrt_tolerance) and find_spec("tensorrt") is not None
    )
    if is_wanted:
        from edge.backends.tensorrt import TensorRtBackend
        from edge.engines.runtime import find_runtime

        try:
            backend = TensorRtBackend(bundle, find_runtime(), engines, fallback)
        except (EngineError, BundleError) as error:
            why = f"not on TensorRT: {error}"
        else:
            return Choice(backend, lambda: backend.trouble)
    check_golden(bundle, fallback)
    return Choice(fallback, lambda: why)
