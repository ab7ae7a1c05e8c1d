"""What TensorRT's explicit quantisation accepts of an ONNX graph, checked without TensorRT.

`lint` holds a graph against a table of rules for one version and returns findings; each names the node, the rule and
the mend. The rules come from NVIDIA's documents, headers and its parser's operator lists; none has been tried on a
board. It changes no graph, and builds no engine. `python -m quantize.rules model.onnx --tensorrt 10.3` runs it alone.
"""

from __future__ import annotations

from quantize.rules.linter import Lint, lint, read_model
from quantize.rules.rule import Finding
from quantize.rules.targets import Target, target

__all__ = ["Finding", "Lint", "Target", "lint", "read_model", "target"]
