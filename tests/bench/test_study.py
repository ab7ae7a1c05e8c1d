"""The command line of the studies: a mistake is told before anything is made."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.study import arguments
from edge.errors import UserError


def _given(monkeypatch: pytest.MonkeyPatch, *flags: str) -> object:
    monkeypatch.setattr(sys, "argv", ["study", *flags])
    return arguments("study", "What is learnt.", ["aligned"], output=Path("out"), seeds=5)


def test_paths_are_absolute_since_trainings_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hearts.csv").touch()
    given = vars(_given(monkeypatch, "--recordings", "hearts.csv"))
    assert (given["recordings"], given["output"]) == (tmp_path / "hearts.csv", tmp_path / "out")
    assert (tmp_path / "out").is_dir()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--recordings", "none.csv"], r"none\.csv: no such file"),
        (["--recordings", "hearts.csv", "--seeds", "0"], "--seeds 0: give 1 or more"),
        (["--recordings", "hearts.csv", "--processes", "0"], "--processes 0: give 1 or more"),
        (["--recordings", "hearts.csv", "--seeds", "x"], "invalid int value"),
        (["--recordings", "hearts.csv", "--output", "hearts.csv"], "cannot be a folder"),
    ],
)
def test_mistake_is_one_line_and_makes_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hearts.csv").touch()
    with pytest.raises(UserError, match=told) as caught:
        _given(monkeypatch, *flags)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
