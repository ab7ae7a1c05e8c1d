"""What was measured of each form of the encoder, and what follows: which one ships, and whether any may.

It measures nothing: `quantize.parity` does. The gate holds for what ships, label by label, and never looks at speed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from quantize.errors import GateError
from quantize.parity import LabelAccuracy, OutputError

Precision = Literal["float32", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
Form = Literal["float32", "int8", "float16"]
"""float16 is what INT8 must be faster than on a board; it is measured beside it and never ships alone."""

TITLES: Mapping[Form, str] = {"float32": "float32", "int8": "INT8", "float16": "FP16"}

SPEED_UP = 1.1
"""An INT8 encoder for CPUs must be this many times as fast as the float32 one to be worth its rounding."""

MEAN_DROP, UPPER_DROP = 0.005, 0.010
"""The most that a label's AUROC may fall below float32's, and the most that the 95 % interval of that may reach."""


@dataclass(frozen=True)
class Candidate:
    """One form of the encoder and what was measured of it."""

    size_bytes: int
    latency_ms: float | None
    """Median of the encoder on one window, on one core of the exporting machine; None for a graph that is not meant for
    it, such as one for TensorRT, whose speed here says nothing."""
    accuracy: tuple[LabelAccuracy, ...]
    """On the test split."""
    error: OutputError | None = None
    """Of its outputs, from those of float32; None for float32 itself."""

    @property
    def worst(self) -> LabelAccuracy:
        """The label that lost most against float32; one whose loss is no number before all."""
        return max(self.accuracy, key=lambda label: math.inf if math.isnan(label.drop.value) else label.drop.value)

    @property
    def failures(self) -> tuple[LabelAccuracy, ...]:
        """The labels that lost more than the gate allows, the worst first."""
        # Negated, so that NaN fails too.
        failed = [
            label for label in self.accuracy if not (label.drop.value <= MEAN_DROP and label.drop.high <= UPPER_DROP)
        ]
        return tuple(sorted(failed, key=lambda label: -math.inf if math.isnan(label.drop.value) else -label.drop.value))


@dataclass(frozen=True)
class Verdict:
    """Which precision ships, and why, in words that do not change with the machine's mood."""

    precision: Precision
    reason: str
    allowed: str = ""
    """The failure of the gate that somebody allowed; empty where it passed."""


def decide(
    wanted: Literal["auto", "float32", "int8"],
    candidates: Mapping[Form, Candidate],
    *,
    target: Literal["cpu", "jetson"] = "cpu",
    allow_drop: bool = False,
) -> Verdict:
    """Say which precision ships.

    `auto` ships INT8 where it is good enough and, on a CPU, faster; a board's speed is not known here.

    Raises:
        GateError: what would ship loses more AUROC than the gate allows, and that is not allowed.
    """
    precision, reason = _precision(wanted, candidates, target, allow_drop=allow_drop)
    failures = candidates[precision].failures
    if not failures:
        return Verdict(precision, reason)
    if not allow_drop:
        mend = "train its last epochs in INT8 (--quantise_epochs), or ship --precision float32"
        raise GateError(f"{_told(precision, failures[0])}: {mend}")
    return Verdict(precision, reason, _told(precision, failures[0]))


def _precision(
    wanted: Literal["auto", "float32", "int8"],
    candidates: Mapping[Form, Candidate],
    target: Literal["cpu", "jetson"],
    *,
    allow_drop: bool,
) -> tuple[Precision, str]:
    if wanted != "auto":
        return wanted, f"{TITLES[wanted]} ships because it was asked for"
    if target == "jetson":
        return "int8", "INT8 ships; whether it is faster than FP16 only the board can say"
    float32, int8 = candidates["float32"], candidates["int8"]
    if float32.latency_ms is None or int8.latency_ms is None or float32.latency_ms < SPEED_UP * int8.latency_ms:
        return (
            "float32",
            f"float32 ships: INT8 was less than {SPEED_UP} times as fast on the machine that made this bundle",
        )
    if int8.failures and not allow_drop:
        return "float32", f"float32 ships: {_told('int8', int8.failures[0])}"
    return (
        "int8",
        f"INT8 ships: at least {SPEED_UP} times as fast as float32 on the machine that made this bundle"
        + ("" if int8.failures else f", and no label's AUROC falls by more than {MEAN_DROP} below float32's"),
    )


def _told(precision: Precision, label: LabelAccuracy) -> str:
    drop = label.drop
    return (
        f"{TITLES[precision]} costs {label.label} {drop.value:.4f} of AUROC (95 % {drop.low:.4f} to {drop.high:.4f}; "
        f"at most {MEAN_DROP}, and {UPPER_DROP} at the upper end, are allowed)"
    )
