"""Turn a trained student into a bundle that a device can load."""

import edge  # noqa: F401 - before onnxruntime is imported anywhere below: it switches that library's telemetry off
