"""What a daemon told to have kept, and what of it arrived at a subscriber: the accounts of a soak.

Does: enters the daemon's log and the messages, and compares them. Does not: run either (`bench.soak` does).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import IO, Any

EXPECTED_ERRORS = ("outbox_not_writable",)
"""Lines of severity error that a full disk brings; any other is a defect."""
_LONG_AGO = "2000"
"""A time of day before this is from a clock that began with 1970."""


class Books:
    """One thread enters messages, another the log; whoever waits may ask."""

    def __init__(self) -> None:
        self.kept: set[str] = set()
        self.events: set[str] = set()
        self.minutes: dict[str, dict[str, Any]] = {}
        """The newest revision of each."""
        self.unsynced: set[str] = set()
        """Messages whose newest revision has the time of a clock that nobody had set, whether it says so or not."""
        self.told: Counter[str] = Counter()
        """Log lines by what they say."""
        self.errors: Counter[str] = Counter()
        self._times: Counter[tuple[str, int]] = Counter()

    @property
    def repeated(self) -> int:
        """Messages that came again."""
        return sum(times - 1 for times in self._times.values())

    @property
    def lost(self) -> int:
        """Events that were kept and never came."""
        return len(self.kept - self.events)

    @property
    def heard_s(self) -> float:
        """Seconds of sound in the minutes' reports."""
        return sum(float(minute["monitored_s"]) for minute in self.minutes.values())

    @property
    def counted(self) -> int:
        """Events in the minutes' reports."""
        return sum(sum(minute["counts"].values()) for minute in self.minutes.values())

    @property
    def is_complete(self) -> bool:
        """All events have come, with true times."""
        return self.kept <= self.events and not self.unsynced

    def hear(self, topic: str, payload: bytes) -> None:
        """Enter a message."""
        message = json.loads(payload)
        kind = topic.rpartition("/")[2]
        key, revision = message[f"{kind}_id"], message.get("revision", 0)
        self._times[key, revision] += 1
        if (key, revision + 1) in self._times:
            return
        is_true = message["clock"] == "synced" and message.get("onset", message.get("start")) > _LONG_AGO
        (self.unsynced.discard if is_true else self.unsynced.add)(key)
        if kind == "minute":
            self.minutes[key] = message
        else:
            self.events.add(key)

    def read(self, stream: IO[str]) -> None:
        """Enter the daemon's log until it ends."""
        for text in stream:
            try:
                line = json.loads(text)
            except ValueError:
                self.errors[text.strip()] += 1
                continue
            self.told[line["event"]] += 1
            if line["event"] == "event":
                self.kept.add(line["event_id"])
            elif line["level"] == "error" and line["event"] not in EXPECTED_ERRORS:
                self.errors[line["event"]] += 1
