"""The command line of every bench."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "bench"
PROGRAMS = sorted({path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text()} - {"soaked"})
"""`soaked` is the daemon that `bench.soak` starts, with its task as its argument."""


@pytest.mark.parametrize("name", PROGRAMS)
def test_wrong_option_is_told_in_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = importlib.import_module(f"bench.{name}")
    monkeypatch.setattr(sys, "argv", [name, "--no-such-option"])
    with pytest.raises(SystemExit) as ended:
        sys.exit(program.main())
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(f"see python -m bench.{name} --help")
