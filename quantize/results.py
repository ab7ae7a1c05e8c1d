"""What an export measured, and what follows: which precision ships, and whether anything may ship at all.

Holds figures and decides; it measures nothing. `report` gives all of it as plain values for a JSON file.
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal

from edge.bundle import Manifest, Metric
from edge.scoring import Report
from quantize.checkpoint import Checkpoint
from quantize.errors import GateError
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, OutputError

Precision = Literal["float32", "int8"]
PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
TITLES: dict[str, str] = {"float32": "float32", "int8": "INT8"}

SPEED_UP = 1.1
"""An INT8 encoder must be this many times as fast as the float32 one to be worth its rounding."""

AUROC_DROP = 0.005
"""The most that a label's AUROC may fall below the checkpoint's."""


@dataclass(frozen=True)
class Candidate:
    """One form of the encoder and what was measured of it."""

    size_bytes: int
    latency_ms: float
    """Median of the encoder on one window, on one core of the exporting machine."""
    accuracy: tuple[LabelAccuracy, ...]
    """On the test split."""

    @property
    def worst(self) -> LabelAccuracy:
        """The label that lost most against the checkpoint; one whose loss is no number before all."""
        return max(self.accuracy, key=lambda label: math.inf if math.isnan(label.drop.value) else label.drop.value)


@dataclass(frozen=True)
class Verdict:
    """Which precision ships, and why, in words that do not change with the machine's mood."""

    precision: Precision
    reason: str


@dataclass(frozen=True)
class Calibration:
    """What set the INT8 ranges."""

    windows: int
    strata: int
    index_sha256: str


@dataclass(frozen=True)
class Results:
    """All that the card, the table and the report tell."""

    checkpoint: Checkpoint
    manifest: Manifest
    """Without the files' hashes."""
    candidates: Mapping[Precision, Candidate]
    verdict: Verdict
    frontend_ms: float
    """Median of the front-end on one window; it is the same for all candidates."""
    output_error: OutputError
    calibration: Calibration
    choices: Sequence[Choice]
    events: Mapping[str, Report]
    """Events on the test split, of each label that has marked recordings there."""
    recordings: Mapping[str, int]
    """By split."""


def decide(
    wanted: Literal["auto", "float32", "int8"], candidates: Mapping[Precision, Candidate], drop: float = AUROC_DROP
) -> Verdict:
    """Say which precision ships: the one wanted, or INT8 where it is faster and as accurate."""
    if wanted != "auto":
        return Verdict(wanted, f"{TITLES[wanted]} ships because it was asked for")
    float32, int8 = candidates["float32"], candidates["int8"]
    if float32.latency_ms < SPEED_UP * int8.latency_ms:
        return Verdict(
            "float32",
            f"float32 ships: INT8 was less than {SPEED_UP} times as fast on the machine that made this bundle",
        )
    if not int8.worst.drop.value <= drop:
        return Verdict(
            "float32",
            f"float32 ships: INT8 costs {int8.worst.label} {int8.worst.drop.value:.4f} of AUROC, more than {drop}",
        )
    return Verdict(
        "int8",
        f"INT8 ships: at least {SPEED_UP} times as fast as float32 on the machine that made this bundle, and no "
        f"label's AUROC falls by more than {drop} below the checkpoint's",
    )


def check_drop(precision: Precision, candidate: Candidate, drop: float = AUROC_DROP) -> None:
    """Refuse to ship what is less accurate than the checkpoint.

    Raises:
        GateError: a label's AUROC fell by more than `drop`; the message names it and the figures.
    """
    worst = candidate.worst
    # Negated, so that NaN fails too.
    if not worst.drop.value <= drop:
        raise GateError(
            f"{TITLES[precision]} costs {worst.label} {worst.drop.value:.4f} of AUROC against the checkpoint "
            f"(95 % {worst.drop.low:.4f} to {worst.drop.high:.4f}; at most {drop} is allowed)"
        )


def metrics(accuracy: Sequence[LabelAccuracy], events: Mapping[str, Report]) -> tuple[Metric, ...]:
    """The figures of what ships, for the manifest."""
    found = []
    for label in accuracy:
        detail = f"test split, highest-scored second of a clip, {label.positives} clips with, {label.negatives} without"
        value, drop = label.auroc, label.drop
        found.append(metric(f"auroc_{label.label}", value.value, value.low, value.high, detail=detail))
        detail = "AUROC of the checkpoint less this bundle's, paired"
        found.append(metric(f"auroc_drop_{label.label}", drop.value, drop.low, drop.high, detail=detail))
    for name, report in events.items():
        detail = f"test split, {report.counts.reference} marked events, onsets one to one within {report.tolerance_s} s"
        for measure, interval in report.intervals.items():
            value_now = report.counts.measure(measure)
            found.append(metric(f"event_{measure}_{name}", value_now, interval.low, interval.high, detail=detail))
        rate, bounds = report.fp_per_hour, report.fp_per_hour_interval
        if rate is not None and bounds is not None:
            detail = f"test split, {report.hours:.2f} h of clips"
            found.append(metric(f"false_positives_{name}", rate, bounds.low, bounds.high, unit="1/h", detail=detail))
    return tuple(found)


def report(results: Results) -> dict[str, Any]:
    """Everything as plain values ready for JSON, with the machine and the versions that the speed depends on."""
    return {
        "bundle": results.manifest.name,
        "version": results.manifest.version,
        "checkpoint_sha256": results.checkpoint.sha256,
        "ships": asdict(results.verdict),
        "candidates": {name: asdict(candidate) for name, candidate in results.candidates.items()},
        "frontend_ms": results.frontend_ms,
        "int8_against_float32": asdict(results.output_error),
        "calibration": asdict(results.calibration),
        "operating_points": [{**asdict(choice), "point": choice.point.model_dump()} for choice in results.choices],
        "events": {name: found.to_dict() for name, found in results.events.items()},
        "recordings": dict(results.recordings),
        "machine": {
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "threads": 1,
            "system": platform.system(),
        },
        "versions": {name: version(name) for name in ("onnx", "onnxruntime", "torch", "numpy")},
    }


def table(results: Results) -> str:
    """float32 against INT8, for people."""
    columns = [results.candidates[precision] for precision in PRECISIONS]
    rows = [
        ("", *(TITLES[precision] for precision in PRECISIONS)),
        ("encoder, MB", *(f"{column.size_bytes / 1e6:.2f}" for column in columns)),
        ("encoder on one core, ms a window", *(f"{column.latency_ms:.2f}" for column in columns)),
        ("  with the front-end", *(f"{results.frontend_ms + column.latency_ms:.2f}" for column in columns)),
    ]
    for place, label in enumerate(columns[0].accuracy):
        rows.append((f"AUROC {label.label}", *(str(column.accuracy[place].auroc) for column in columns)))
        drops = [column.accuracy[place].drop for column in columns]
        rows.append(("  less than checkpoint", *(f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]" for d in drops)))
    rows.append(("ships", *("yes" if results.verdict.precision == precision else "no" for precision in PRECISIONS)))
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    error, speed = results.output_error, columns[0].latency_ms / columns[1].latency_ms
    return "\n".join(
        [
            *lines,
            f"The INT8 encoder is {speed:.2f} times as fast; over {error.windows} test windows its scores differ by at "
            f"most {error.max_score:.3f}, embeddings: cosine {error.cosine_mean:.4f} (least {error.cosine_min:.4f}), "
            f"SQNR {error.sqnr_db:.1f} dB",
            results.verdict.reason,
        ]
    )


def metric(name: str, value: float, low: float, high: float, *, unit: str = "", detail: str = "") -> Metric:
    """A figure for the manifest, in six digits."""
    return Metric(name=name, value=round(value, 6), low=round(low, 6), high=round(high, 6), unit=unit, detail=detail)
