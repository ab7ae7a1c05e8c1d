"""The accounts of `bench.soak`: what is lost, repeated, and still without a true time."""

from __future__ import annotations

import io
import json
from typing import Any

from bench.books import Books


def read(books: Books, *lines: dict[str, Any] | str) -> None:
    books.read(io.StringIO("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)))


def kept(event_id: str) -> dict[str, Any]:
    return {"event": "event", "level": "info", "event_id": event_id}


def hear(books: Books, kind: str, key: str, clock: str = "synced", **more: Any) -> None:
    message = {f"{kind}_id": key, "clock": clock, "start": "2026-11-23T22:38:22.123Z", **more}
    books.hear(f"acula/site/device/{kind}", json.dumps(message).encode())


def test_event_that_never_came_is_lost() -> None:
    books = Books()
    read(books, kept("a"), kept("b"))
    hear(books, "event", "a")
    assert (books.lost, books.is_complete) == (1, False)
    hear(books, "event", "b")
    assert (books.lost, books.is_complete) == (0, True)


def test_same_message_again_is_a_repeat_and_a_revision_is_none() -> None:
    books = Books()
    hear(books, "event", "a", "unsynced")
    assert books.unsynced == {"a"}
    hear(books, "event", "a", revision=1)
    assert (books.repeated, books.unsynced) == (0, set())
    # A late copy of the first does not take the true time away again.
    hear(books, "event", "a", "unsynced")
    assert (books.repeated, books.unsynced) == (1, set())


def test_minutes_count_once_and_by_their_newest_revision() -> None:
    books = Books()
    for minute, revision, seconds in (("a", 0, 60.0), ("a", 0, 60.0), ("b", 0, 10.0), ("b", 1, 10.5)):
        hear(books, "minute", minute, monitored_s=seconds, counts={"cough": 2, "breath": 1}, revision=revision)
    assert (books.heard_s, books.counted) == (70.5, 6)


def test_full_disk_is_expected_and_any_other_error_is_told() -> None:
    books = Books()
    full, defect = ({"event": event, "level": "error"} for event in ("outbox_not_writable", "listener_failed"))
    read(books, full, defect, "Traceback (most recent call last):")
    assert set(books.errors) == {"listener_failed", "Traceback (most recent call last):"}
    assert books.told["outbox_not_writable"] == 1


def test_time_from_1970_that_calls_itself_true_is_found() -> None:
    books = Books()
    hear(books, "event", "a", "synced", onset="1970-01-01T00:00:01.000Z")
    assert books.unsynced == {"a"}
