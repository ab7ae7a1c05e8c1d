"""Tables of metadata, and a server that writes reports, for the tests of reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.completions import Completions

ROOT = Path(__file__).parents[2]
HEADER = (
    "path,corpus,group,split,modality,event,murmur,murmur_here,murmur_locations,systolic_timing,outcome,site,sex,age"
)


def write_table(folder: Path, count: int = 6) -> Path:
    """A table of `count` children, with and without a murmur, and one whose murmur is unknown."""
    kinds = [
        "heart,heart,Present,1.0,AV+MV,Holosystolic,Abnormal,MV,Female,Child",
        "heart,heart,Absent,0.0,,,Normal,PV,Male,Infant",
        "heart,heart,Unknown,0.0,,,Abnormal,AV,Female,",
    ]
    lines = [HEADER]
    for number in range(count):
        (folder / f"{number}.wav").touch()
        lines.append(f"{number}.wav,tiny,child-{number},train,{kinds[number % 3]}")
    table = folder / "recordings.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of six children."""
    return write_table(tmp_path)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Completions]:
    """A server of the protocol of OpenAI in a process of its own."""
    with Completions(tmp_path_factory.mktemp("completions")) as running:
        yield running


def run_report(*flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`python -m align.report` as a process."""
    variables = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"} | environment
    command = [sys.executable, "-m", "align.report", *flags]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
