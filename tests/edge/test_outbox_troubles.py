"""What the log says of a disk that refuses: each trouble once, its end once, and losses in hundreds."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

from edge.outbox_troubles import Losses, Troubles


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def test_trouble_is_told_once_and_is_over_when_no_operation_is_refused_any_more(logs: list[Any]) -> None:
    troubles = Troubles(Path("outbox.db"), 1000)
    for operation in ("write", "age", "write"):
        troubles.report(operation, error(errno.ENOSPC))
    assert [entry["event"] for entry in logs] == ["outbox_not_writable"]
    troubles.report("age", error(errno.EIO))  # of an operation that was refused before, for another reason
    troubles.recover("write", 0)
    assert troubles.reason == os.strerror(errno.EIO)
    assert [entry["event"] for entry in logs] == ["outbox_not_writable"]
    troubles.recover("age", 7)
    assert troubles.reason == ""
    assert [(entry["event"], entry.get("waiting")) for entry in logs[1:]] == [("outbox_writable_again", 7)]


def test_losses_are_told_at_the_first_and_then_once_for_a_hundred(logs: list[Any]) -> None:
    losses = Losses()
    for _ in range(250):
        losses.add(1, "full")
    losses.add(0, "full")
    losses.add(500, "full")
    assert [entry["since_start"] for entry in logs] == [1, 100, 200, 750]
