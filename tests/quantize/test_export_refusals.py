"""What an export refuses: each in one line, before the work where that can be known, with nothing half-written."""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import pytest

from edge.errors import UserError
from quantize.config import ExportSettings
from quantize.exporter import export
from quantize.results import write_report


def _settings(checkpoint: Path, recordings: Path, output: Path, **others: Any) -> ExportSettings:
    fields = {"calibration_windows": 300, "bootstrap_rounds": 100, "scenes": 1, "precision": "int8", **others}
    return ExportSettings(checkpoint=checkpoint, recordings=recordings, name="tiny", output=output, **fields)


def _refused(settings: ExportSettings, match: str) -> None:
    with pytest.raises(UserError, match=match) as caught:
        export(settings)
    assert "\n" not in str(caught.value)


def test_missing_table_ends_with_one_line(checkpoint_path: Path, tmp_path: Path) -> None:
    _refused(_settings(checkpoint_path, tmp_path / "none.csv", tmp_path / "b"), "none.csv: no such file")


def test_table_without_a_label_ends_with_one_line(checkpoint_path: Path, recordings: Path, tmp_path: Path) -> None:
    lines = recordings.read_text().splitlines()
    kept = [lines[0], *(f"{recordings.parent}/{line}" for line in lines[1:] if "test-breath" not in line)]
    (tmp_path / "part.csv").write_text("\n".join(kept) + "\n")
    _refused(
        _settings(checkpoint_path, tmp_path / "part.csv", tmp_path / "b"),
        "0 of 54 airborne test recordings have the event breath",
    )


def test_folder_of_something_else_is_not_replaced(checkpoint_path: Path, recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    _refused(_settings(checkpoint_path, recordings, tmp_path), "holds files but no bundle")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_disk_that_is_full_ends_with_one_line_and_leaves_nothing(
    checkpoint_path: Path, recordings: Path, tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond 100 kB, as if the disk ended there.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        _refused(_settings(checkpoint_path, recordings, tmp_path / "b"), "cannot be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_report_without_a_place_ends_with_one_line_before_the_work(
    checkpoint_path: Path, recordings: Path, tmp_path: Path
) -> None:
    settings = _settings(checkpoint_path, recordings, tmp_path / "b", report=tmp_path / "no" / "report.json")
    _refused(settings, r"report\.json: there is no folder .*no; make it first")


def test_report_that_does_not_fit_is_named() -> None:
    with pytest.raises(UserError, match="/dev/full: the report cannot be written"):
        write_report(Path("/dev/full"), "{}")


def test_too_few_recordings_to_calibrate_end_with_one_line(
    checkpoint_path: Path, recordings: Path, tmp_path: Path
) -> None:
    lines = recordings.read_text().splitlines()
    rows = [line for line in lines[1:] if not line.startswith("train-") or line.startswith("train-cough-1")]
    (tmp_path / "few.csv").write_text("\n".join([lines[0], *(f"{recordings.parent}/{line}" for line in rows)]) + "\n")
    _refused(_settings(checkpoint_path, tmp_path / "few.csv", tmp_path / "b"), "11 training recordings; INT8 is calib")


def test_key_that_is_none_is_told_before_the_work(checkpoint_path: Path, recordings: Path, tmp_path: Path) -> None:
    _refused(
        _settings(checkpoint_path, recordings, tmp_path / "b", key=tmp_path / "no.pem"), r"no\.pem: cannot be read"
    )
