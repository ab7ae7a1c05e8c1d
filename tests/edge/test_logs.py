"""What the log writes, and how."""

from __future__ import annotations

import io
import json

import pytest
import structlog

from edge import logs
from edge.sections import LogSettings


def test_line_is_written_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two pieces of it another thread's line could come."""
    written: list[str] = []

    class Recorder(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr("sys.stderr", Recorder())
    logs.configure(LogSettings(format="json"))
    structlog.get_logger().warning("first", number=1)
    structlog.get_logger().warning("second")
    assert [json.loads(text)["event"] for text in written] == ["first", "second"]
    assert all(text.endswith("\n") for text in written)
