"""The device: audio in, cough and breath events out, over MQTT. Imports no torch."""

import os

__version__ = "0.1.0"

# onnxruntime 1.32 reports its use over the network and leaves files in the user's cache unless told otherwise before it
# is imported, and a device sends nothing but what its operator asked for.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
