"""Model runtimes, each in a module of its own; `edge.backends.choice` picks one for a device."""

from __future__ import annotations

from edge.backends.base import Backend
from edge.bundle import Bundle


def open_backend(bundle: Bundle, threads: int = 1) -> Backend:
    """Open the bundle's models on ONNX Runtime, which runs everywhere: the reference for all other runtimes.

    Does not run the golden vectors: see `edge.bundle.check_golden`. Raises BundleError for models that cannot be run.
    """
    # Imported here, so that only programs that run a model load a runtime.
    from edge.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(bundle, threads=threads)
