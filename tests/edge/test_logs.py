"""What the log writes, and how."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
import structlog

from edge import logs
from edge.sections import LogSettings


def test_lines_of_one_kind_that_come_too_often_are_held_back_and_counted() -> None:
    now_s = [0.0]
    limit = logs.RateLimit(now=lambda: now_s[0])

    def passed(kind: str, times: int) -> list[dict[str, Any]]:
        lines = []
        for _ in range(times):
            with contextlib.suppress(structlog.DropEvent):
                lines.append(dict(limit(None, "warning", {"event": kind})))
        return lines

    assert len(passed("command_refused", 1000)) == 100
    assert len(passed("no_sound", 7)) == 7
    assert len(passed("event", 1000)) == 1000
    now_s[0] = 60.0
    after = passed("command_refused", 1000)
    assert after[:2] == [{"event": "command_refused", "held_back": 900}, {"event": "command_refused"}]
    assert len(after) == 100


def test_flood_of_lines_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    logs.configure(LogSettings(format="json"))
    for number in range(1000):
        structlog.get_logger().warning("command_refused", number=number)
    assert 100 <= stream.getvalue().count("\n") <= 200  # a minute may end in between


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


def test_error_of_a_library_is_a_line_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    handlers = logging.root.handlers[:]
    try:
        logs.configure(LogSettings(format="json"))
        logging.getLogger("asyncio").warning("somebody has hung up")
        try:
            Path("/nowhere").read_text()
        except OSError:
            logging.getLogger("asyncio").exception("cannot %s", "read")
    finally:
        logging.root.handlers[:] = handlers
    (line,) = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["name"], line["text"], line["level"]) == ("library", "asyncio", "cannot read", "error")
    assert "No such file" in line["exception"]
