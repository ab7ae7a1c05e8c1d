"""A small alignment, trained once, and its programs run in this process, for the tests of what is done with one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from align.config import AlignSettings
from align.report import report
from align.reports.config import ReportSettings
from align.synthetic import write_corpus

MURMUR: dict[str, Any] = {"name": "murmur", "column": "murmur", "positive": ["Present"], "negative": ["Absent"]}


@dataclass(frozen=True)
class Aligned:
    """The folder of a training, and what it was trained on."""

    folder: Path
    recordings: Path
    reports: Path
    teacher_cache: Path


def corpus_of(folder: Path, people: int = 60) -> Aligned:
    """A synthesised corpus with its reports, not trained on yet."""
    table = write_corpus(folder / "corpus", people)
    reports = folder / "reports.parquet"
    report(ReportSettings.model_validate({"recordings": table, "output": reports}))
    return Aligned(folder / "run", table, reports, folder / "teacher")


def settings_of(place: Aligned, **changes: Any) -> AlignSettings:
    """Settings of a training of seconds."""
    given = {
        "recordings": place.recordings,
        "reports": place.reports,
        "output": place.folder,
        "teacher_cache": place.teacher_cache,
        "encoder": {"name": "scratch-conv", "sample_rate_hz": 4000, "clip_s": 2.0},
        "teacher": {"model": "minilm"},
        "tasks": [MURMUR],
        "batch_size": 16,
        "epochs": 3,
        "warmup_steps": 4,
        "validate_epochs": 3,
    }
    return AlignSettings.model_validate({**given, **changes})


def run_main(main: Callable[[], int], monkeypatch: pytest.MonkeyPatch, *flags: str | Path) -> int:
    """A program's exit status for these flags."""
    monkeypatch.setattr(sys, "argv", ["program", *map(str, flags)])
    return main()


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a program refused."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line and "%|" not in line]
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")
    return lines[0]
