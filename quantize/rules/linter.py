"""The table of rules, and one graph held against all of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from edge.errors import UserError
from quantize.rules import form, placement, scales
from quantize.rules.graph import Graph
from quantize.rules.rule import Case, Finding, Rule
from quantize.rules.targets import Target

VALIDITY = Rule(17, "valid ONNX", form.validity)
RULES = (
    Rule(1, "standard operators only", form.domains),
    Rule(2, "opset and IR version", form.opset),
    Rule(3, "operators of the version", form.operators),
    Rule(4, "scales", scales.scale_values),
    Rule(5, "zero points", scales.zero_points),
    Rule(6, "scales per channel", scales.axes),
    Rule(7, "int8", scales.output_types),
    Rule(8, "weights of convolutions", placement.weights),
    Rule(9, "float biases", placement.biases),
    Rule(10, "input and weights together", placement.both_or_neither),
    Rule(11, "no Q/DQ inside a fusion", placement.fusions),
    Rule(12, "layers that stay float", placement.stays_float),
    Rule(13, "fixed shapes", form.shapes),
    Rule(14, "types", form.types),
    Rule(15, "share of INT8", placement.share),
    Rule(16, "one file", form.external_data),
    VALIDITY,
    Rule(18, "channels", placement.channels),
    Rule(19, "dead channels", scales.dead_channels),
    Rule(20, "no wasted Q/DQ", placement.wasted_pairs),
    Rule(21, "known failures of 8.5", placement.swish_after_depthwise),
)


@dataclass(frozen=True)
class Lint:
    """What was found in one graph for one version."""

    tensorrt: str
    findings: tuple[Finding, ...]
    int8_share: float
    """Part of the multiply-accumulates that run in INT8."""

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that keep the graph from being built as meant."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "tensorrt": self.tensorrt,
            "accepted": not self.errors,
            "int8_share": round(self.int8_share, 4),
            "findings": [asdict(finding) for finding in self.findings],
        }


def lint(model: onnx.ModelProto, target: Target, profile: Collection[str] = ()) -> Lint:
    """Hold a graph against every rule.

    Args:
        model: as `read_model` gives it.
        target: of `quantize.rules.target`.
        profile: names of dimensions that may vary because the build gives them a shape profile.
    """
    case = Case(Graph(model), target, frozenset(profile))
    if form.defect(model):
        # Nodes may lack inputs that the other rules look at.
        return Lint(str(target), tuple(VALIDITY.findings(case)), 0.0)
    findings = tuple(finding for rule in RULES for finding in rule.findings(case))
    return Lint(str(target), findings, placement.int8_share(case.graph))


def read_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file without the weights in other files.

    Raises:
        UserError: no such file, or none that holds an ONNX graph.
    """
    try:
        model = onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except Exception as error:  # whatever the parser makes of other bytes
        raise UserError(f"{path}: not an ONNX file") from error
    if not model.graph.node or not model.opset_import:
        raise UserError(f"{path}: holds no ONNX graph")
    return model
