"""Hold an ONNX file against TensorRT's rules: `python -m quantize.rules model.onnx --tensorrt 10.3`.

Exit status: 0 when TensorRT accepts it by these rules (warnings are printed), 1 when a finding is an error, 2 for a
file or a version that cannot be used.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edge.errors import exit_status
from edge.settings import Parser
from quantize.rules import lint, read_model, target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    return exit_status(lambda: _run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    parser = Parser(
        prog="python -m quantize.rules",
        description="Say what TensorRT would refuse in an ONNX graph, or run slowly. Needs no TensorRT.",
    )
    parser.add_argument("model", type=Path, metavar="MODEL.onnx")
    parser.add_argument("--tensorrt", default="10.3", metavar="VERSION", help="8.5 or later (default: 10.3, JetPack 6)")
    parser.add_argument(
        "--profile",
        default="",
        metavar="NAME,...",
        help="dimensions that may vary because the build gives them a range",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    found = lint(read_model(given.model), target(given.tensorrt), [name for name in given.profile.split(",") if name])
    if given.json:
        print(json.dumps({"model": str(given.model), **found.to_dict()}, indent=2))
        return 1 if found.errors else 0
    for finding in found.findings:
        print(finding)
    verdict = f"refused, {len(found.errors)} errors" if found.errors else "accepted by these rules"
    print(
        f"{given.model}: TensorRT {found.tensorrt}: {verdict}, {len(found.findings) - len(found.errors)} warnings; "
        f"{found.int8_share:.0%} of the multiplications in INT8"
    )
    return 1 if found.errors else 0


if __name__ == "__main__":
    sys.exit(main())
