"""What an export measured, in one place: for the manifest, for a JSON file and as a table for people.

Holds figures; it measures nothing and decides nothing.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge.bundle import Manifest, Metric
from edge.scoring import Report
from quantize.calibration import Target
from quantize.checkpoint import Checkpoint
from quantize.errors import ExportError
from quantize.failures import Failures
from quantize.gate import TITLES, Candidate, Form, Verdict
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, OutputError
from quantize.scarce import HeldOut, LeftOut
from quantize.selection import Selection
from quantize.size import Size
from quantize.sources import SourceAccuracy


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
    target: Target
    manifest: Manifest
    """Without the files' hashes."""
    size: Size
    candidates: Mapping[Form, Candidate]
    verdict: Verdict
    frontend_ms: float
    """Median of the front-end on one window; it is the same for all candidates."""
    calibration: Calibration
    selection: Selection
    choices: Sequence[Choice]
    events: Mapping[str, Report]
    """Events on the test split, of each label that has marked recordings there."""
    sources: Sequence[SourceAccuracy]
    """Clips of the test split, each label in each source; none where the question is about people."""
    failures: Failures
    left_out: Sequence[LeftOut]
    """Labels of the checkpoint that are not in the bundle."""
    never_labels: Sequence[HeldOut]
    """Other sounds that the recordings name: nobody trained them as labels."""
    recordings: Mapping[str, int]
    """By split."""


def metrics(accuracy: Sequence[LabelAccuracy], events: Mapping[str, Report]) -> tuple[Metric, ...]:
    """The figures of what ships, for the manifest."""
    asked = "highest-scored second of a clip, {positives} clips with, {negatives} without"
    found = auroc_metrics(accuracy, asked)
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


def auroc_metrics(accuracy: Sequence[LabelAccuracy], asked: str) -> list[Metric]:
    """AUROC of each label and its drop; `asked` says of what, with the places {positives} and {negatives}."""
    found = []
    for label in accuracy:
        name, value, drop = label.label.replace(", ", "_"), label.auroc, label.drop
        detail = "test split, " + asked.format(positives=label.positives, negatives=label.negatives)
        found.append(metric(f"auroc_{name}", value.value, value.low, value.high, detail=detail))
        detail = "AUROC of float32 less this bundle's, paired"
        found.append(metric(f"auroc_drop_{name}", drop.value, drop.low, drop.high, detail=detail))
    return found


def report(results: Results) -> dict[str, Any]:
    """Everything as plain values ready for JSON, with the machine and the versions that the speed depends on."""
    return {
        "bundle": results.manifest.name,
        "version": results.manifest.version,
        "checkpoint_sha256": results.checkpoint.sha256,
        "target": results.target,
        "ships": asdict(results.verdict),
        "size": asdict(results.size),
        "candidates": {name: asdict(candidate) for name, candidate in results.candidates.items()},
        "frontend_ms": results.frontend_ms,
        "calibration": asdict(results.calibration),
        "selection": asdict(results.selection),
        "failures": asdict(results.failures),
        "left_out": [asdict(label) for label in results.left_out],
        "never_labels": [asdict(event) for event in results.never_labels],
        "sources": [asdict(one) for one in results.sources],
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


def write_report(path: Path | None, told: str) -> None:
    """Write the JSON file, if one is wanted.

    Raises:
        ExportError: it cannot be written.
    """
    if path is None:
        return
    try:
        path.write_text(told + "\n", encoding="utf-8")
    except OSError as error:
        raise ExportError(f"{path}: the report cannot be written ({error.strerror}); no bundle was written") from error


def summary(results: Results, output: Path, *, signed: bool) -> str:
    """The table, where the bundle is, and what to do next."""
    lines = ["", table(results), "", f"bundle: {output}"]
    if not signed:
        lines.append(f"next: python -m quantize.sign sign {output} --key KEY.pem")
    trust = "--bundle.trusted_keys KEY.pub" if signed else "--bundle.allow_unsigned"
    where, command = ("next: ", "verify") if results.target == "cpu" else ("next, on the board: ", "engine")
    return "\n".join([*lines, f"{where}python -m edge {command} {trust} {output}"])


def table(results: Results) -> str:
    """Every form of the encoder that was measured, for people."""
    columns = list(results.candidates.values())
    windows = next(column.error.windows for column in columns if column.error)
    rows = [
        ("", *(TITLES[name] for name in results.candidates)),
        ("encoder, M parameters", *(f"{results.size.parameters / 1e6:.3f}" for _ in columns)),
        ("  M multiply-adds for 2 s", *(f"{results.size.multiply_adds_per_2_s / 1e6:.1f}" for _ in columns)),
        ("encoder, MB", *(f"{column.size_bytes / 1e6:.2f}" for column in columns)),
        ("encoder on one core, ms a window", *(_milliseconds(column.latency_ms) for column in columns)),
        ("  with the front-end", *(_milliseconds(column.latency_ms, results.frontend_ms) for column in columns)),
        (f"embedding of {windows} test windows", *("" for _ in columns)),
        *_error_rows([column.error for column in columns]),
    ]
    for place, label in enumerate(columns[0].accuracy):
        rows.append((f"AUROC {label.label}", *(str(column.accuracy[place].auroc) for column in columns)))
        drops = [column.accuracy[place].drop for column in columns]
        rows.append(("  less than float32", *(f"{d.value:+.4f} [{d.low:+.4f}, {d.high:+.4f}]" for d in drops)))
    rows.append(("ships", *("yes" if results.verdict.precision == name else "no" for name in results.candidates)))
    lines = aligned(rows)
    float32, int8 = (results.candidates[name].latency_ms for name in ("float32", "int8"))
    if float32 is not None and int8 is not None:
        lines.append(f"The INT8 encoder is {float32 / int8:.2f} times as fast, on one core of this machine.")
    return "\n".join([*lines, f"{results.verdict.reason}."])


def _error_rows(errors: Sequence[OutputError | None]) -> list[tuple[str, ...]]:
    titles = ("  cosine, mean (least)", "  SQNR, dB", "  linear CKA", "largest difference of a score")
    cells = [
        (f"{e.cosine_mean:.4f} ({e.cosine_min:.4f})", f"{e.sqnr_db:.1f}", f"{e.cka:.4f}", f"{e.max_score:.3f}")
        if e
        else ("",) * len(titles)
        for e in errors
    ]
    return list(zip(titles, *cells, strict=True))


def ways_table(selection: Selection) -> str:
    """The ways to quantise that were tried, and the dearest layers, for people."""
    rows = [("calibrator", "bits of weights", "float layers", "SQNR, dB", "cosine", "AUROC drop", "")]
    for way in selection.tried:
        drop = f"{way.drop:+.4f} ({way.label})"
        chosen = "chosen" if way == selection.chosen else ""
        cells = (f"{len(way.kept_float)}", f"{way.sqnr_db:.1f}", f"{way.cosine:.4f}", drop, chosen)
        rows.append((way.calibrator, f"{way.weight_bits}", *cells))
    dearest = ", ".join(f"{layer.layer} {layer.gain_db:+.1f} dB" for layer in selection.layers[:3])
    return "\n".join([*aligned(rows), f"layers that cost most: {dearest}"])


def aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows of equal length as lines with aligned columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _milliseconds(latency_ms: float | None, more_ms: float = 0.0) -> str:
    return "on the board" if latency_ms is None else f"{latency_ms + more_ms:.2f}"


def metric(name: str, value: float, low: float, high: float, *, unit: str = "", detail: str = "") -> Metric:
    """A figure for the manifest, in six digits."""
    return Metric(name=name, value=round(value, 6), low=round(low, 6), high=round(high, 6), unit=unit, detail=detail)
