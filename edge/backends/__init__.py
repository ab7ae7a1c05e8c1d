"""Model runtimes. `open_backend` picks one for a bundle; each lives in a module of its own."""

from __future__ import annotations

from typing import Literal

from edge.backends.base import Backend
from edge.bundle import Bundle


def open_backend(bundle: Bundle, kind: Literal["auto", "onnxruntime"] = "auto", threads: int = 1) -> Backend:
    """Open the bundle's models; `auto` takes the best runtime that this machine has.

    Does not run the golden vectors: see `edge.bundle.check_golden`. Raises BundleError for models that cannot be run.
    """
    # Imported here, so that only programs that run a model load a runtime.
    from edge.backends.onnxruntime import OnnxRuntimeBackend

    runtimes = {"auto": OnnxRuntimeBackend, "onnxruntime": OnnxRuntimeBackend}
    return runtimes[kind](bundle, threads=threads)
