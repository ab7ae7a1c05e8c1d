"""Which graph of a bundle is built for which TensorRT, with which flags, and what is known not to work.

A table and pure functions; `quantize/build_engine.sh` has the same table for boards without this package, and a test
holds the two against each other. Not yet run on hardware.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from edge.errors import EngineError

Precision = Literal["int8", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

INT8_GRAPH, HALF_GRAPH, TYPED_GRAPH = "encoder.int8.onnx", "encoder.fp16.onnx", "encoder.int8_fp16.onnx"

Version = tuple[int, int, int]


@dataclass(frozen=True)
class Plan:
    """How one precision is built."""

    graph: str
    """File of the bundle."""
    flags: tuple[str, ...]
    """Of `tensorrt.BuilderFlag`: which numbers the builder may choose."""
    strongly_typed: bool
    """The numbers are the graph's own; a flag beside that would be refused."""


@dataclass(frozen=True)
class Row:
    """Plans that hold from one version on."""

    since: Version
    plans: Mapping[Precision, Plan]


TYPED = {"int8": Plan(TYPED_GRAPH, (), True), "fp16": Plan(HALF_GRAPH, (), True)}
ROWS = (
    Row((8, 5, 0), {"int8": Plan(INT8_GRAPH, ("INT8", "FP16"), False), "fp16": Plan(HALF_GRAPH, ("FP16",), False)}),
    # Weak typing is deprecated from 10.12 on, and 11 has nothing else than strong typing.
    Row((10, 12, 0), {"int8": TYPED["int8"], "fp16": TYPED["fp16"]}),
)


@dataclass(frozen=True)
class KnownBad:
    """A combination that builds and then fails or computes something else."""

    concerns: Callable[[Version, str], bool]
    """Of TensorRT's version and the compute capability."""
    reason: str


KNOWN_BAD = (
    KnownBad(lambda version, _sm: version < (8, 5, 0), "older than 8.5, which reads these graphs"),
    KnownBad(lambda version, _sm: version == (10, 2, 0), "10.2.0 is known to fail on INT8 graphs; update JetPack"),
    KnownBad(
        lambda version, sm: sm in ("10.1", "11.0") and version < (10, 15, 0),
        "before 10.15 gives wrong results on Thor (ultralytics#22873); update JetPack to 7.2",
    ),
    KnownBad(lambda _version, sm: sm in ("5.3", "6.0", "6.2"), "this GPU has no INT8 (Nano, TX2)"),
)


def parse_version(text: str) -> Version:
    """`10.3.0`, `8.5.2.2` or `10.13.3.9` as three numbers.

    Raises:
        EngineError: it is no version.
    """
    found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if found is None:
        raise EngineError(f"tensorrt calls its version {text!r}: not understood")
    return int(found[1]), int(found[2]), int(found[3] or 0)


def check_known_bad(version: Version, sm: str) -> None:
    """Refuse what is known not to work.

    Args:
        version: of TensorRT.
        sm: compute capability, as `8.7`.

    Raises:
        EngineError: the version or the board is on the list.
    """
    for row in KNOWN_BAD:
        if row.concerns(version, sm):
            raise EngineError(f"TensorRT {'.'.join(map(str, version))}: {row.reason}")


def plan(version: Version, precision: Precision) -> Plan:
    """How to build a precision with this version, which `check_known_bad` has let pass."""
    return [row for row in ROWS if row.since <= version][-1].plans[precision]
