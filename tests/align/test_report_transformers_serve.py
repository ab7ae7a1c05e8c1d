"""Reports by the server that comes with transformers, in a process of its own, with a tiny model of random weights."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow import parquet

from align.report import report
from align.reports.config import ReportSettings
from align.reports.errors import WriterError
from tests.align.conftest import write_table

START_S = 120


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `transformers serve`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("wb") as stream, subprocess.Popen(command, env=environment, stdout=stream, stderr=stream) as process:
        try:
            deadline = time.monotonic() + START_S
            while not _listens(port):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def settings(table: Path, url: str, model: Path) -> ReportSettings:
    output = table.parent / "r.parquet"
    asked = {"recordings": table, "output": output, "writer": "server", "base_url": url, "model": str(model)}
    return ReportSettings.model_validate(asked | {"max_tokens": 16, "attempts": 2, "retries": 0})


@pytest.mark.slow
def test_babble_of_a_real_server_is_refused_replaced_and_counted(tmp_path: Path, served: str, tiny_model: Path) -> None:
    table = write_table(tmp_path, 3)
    counts, _ = report(settings(table, served, tiny_model))
    assert (counts.written, counts.refused, counts.fallbacks) == (3, 6, 3)
    rows = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert {(row["writer"], row["model"]) for row in rows} == {("template", str(tiny_model))}
    assert all("dropped: murmur" in row["problems"] for row in rows)


@pytest.mark.slow
def test_model_that_a_real_server_does_not_have_is_told_in_one_line(tmp_path: Path, served: str) -> None:
    with pytest.raises(WriterError, match=served) as caught:
        report(settings(write_table(tmp_path, 3), served, tmp_path / "gone"))
    assert "\n" not in str(caught.value)
