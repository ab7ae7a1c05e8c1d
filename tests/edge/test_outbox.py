"""The outbox: order, numbers, caps, and what survives a crash."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import capture_logs

from edge.outbox import Outbox
from tests.outboxes import disk_without_room, fill, ids, open_outbox

ROOT = Path(__file__).parents[2]


def test_messages_come_oldest_first_until_deleted(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 5)
    assert [row.event_id for row in outbox.pending(2)] == ["event-0", "event-1"]
    outbox.delete(["event-1", "event-3", "never there"])
    assert ids(outbox) == ["event-0", "event-2", "event-4"]
    assert outbox.depth == 3
    outbox.close()
    assert outbox.depth == 3


def test_messages_on_some_topics_can_be_passed_over_on_disk_and_in_memory(
    tmp_path: Path,
    logs: list[Any],
) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    outbox.put("minute-0", "minute", b"")
    outbox.put("event-0", "event", b"")
    with disk_without_room():
        outbox.put("minute-1", "minute", b"")
        outbox.put("event-1", "event", b"")
        passed = outbox.pending(10, without_topics=["minute", "state"])
        assert [row.event_id for row in passed] == ["event-0", "event-1"]
        newer = outbox.pending(10, after=passed[-1].number - 1)
        assert [row.event_id for row in newer] == ["event-1"]
        assert [row.event_id for row in outbox.pending(10, without_topics=["minute", "event"])] == []
    outbox.close()


def test_events_can_be_read_by_their_user_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        outbox = open_outbox(tmp_path / "state" / "outbox.db")
        fill(outbox, 1)
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
        outbox.close()
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert set(modes) == {"outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db.lock"}
    assert set(modes.values()) == {0o600}
    (tmp_path / "state" / "outbox.db").chmod(0o644)  # as an earlier version left it
    open_outbox(tmp_path / "state" / "outbox.db").close()
    assert (tmp_path / "state" / "outbox.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_outbox_that_root_opens_belongs_to_the_user_of_the_service(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 65534, 65534)
    outbox = open_outbox(state / "outbox.db")
    fill(outbox, 1)
    assert {path.stat().st_uid for path in state.iterdir()} == {65534}
    outbox.close()


def test_depth_does_not_fall_by_what_is_gone_already_while_the_disk_takes_no_writes(
    tmp_path: Path, logs: list[Any]
) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 2)
    with disk_without_room():
        outbox.delete(["event-0", "sent long ago", "and another"])
        assert outbox.depth == len(outbox.pending(10)) == 1
        outbox.delete(["event-1", "event-1"])
        assert outbox.depth == len(outbox.pending(10)) == 0
    assert logs
    outbox.maintain()
    assert outbox.depth == 0
    outbox.close()


def test_same_event_is_stored_once(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    outbox.put("event", "topic", b"first")
    outbox.put("event", "topic", b"second")
    assert [row.payload for row in outbox.pending(10)] == [b"first"]
    assert outbox.depth == 1
    outbox.close()


def test_numbers_go_on_after_a_restart_even_of_an_empty_outbox(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 3)
    outbox.delete(ids(outbox)[:2])
    outbox.close()
    outbox = open_outbox(tmp_path / "outbox.db")
    assert outbox.last_number == 0
    fill(outbox, 1, first=3)
    assert [(row.event_id, row.number) for row in outbox.pending(2)] == [("event-2", 0), ("event-3", 1)]
    assert [row.event_id for row in outbox.pending(2, after=0)] == ["event-3"]
    outbox.close()


class OutboxMachine(RuleBasedStateMachine):
    """Against a plain list: whatever is done in whatever order, restarts included, it holds the same messages."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "outbox.db"
        self.outbox = open_outbox(self.path)
        self.model: list[str] = []
        self.count = 0

    @rule()
    def put(self) -> None:
        self.outbox.put(f"event-{self.count}", "topic", b"payload")
        self.model.append(f"event-{self.count}")
        self.count += 1

    @rule(places=st.lists(st.integers(0, 30), max_size=5))
    def delete(self, places: list[int]) -> None:
        gone = [self.model[place] for place in set(places) if place < len(self.model)]
        self.outbox.delete(gone)
        self.model = [event_id for event_id in self.model if event_id not in gone]

    @rule(places=st.lists(st.integers(0, 30), max_size=5))
    def put_and_delete_while_the_disk_refuses(self, places: list[int]) -> None:
        with disk_without_room(), capture_logs():  # nor could a log be written to a file
            self.put()
            self.delete(places)
            self.put()
            self.same()

    @rule()
    def maintain(self) -> None:
        self.outbox.maintain()

    @rule()
    def restart(self) -> None:
        self.outbox.close()
        self.outbox = open_outbox(self.path)

    @invariant()
    def same(self) -> None:
        assert ids(self.outbox) == self.model
        assert self.outbox.depth == len(self.model)

    def teardown(self) -> None:
        self.outbox.close()
        self.folder.cleanup()


TestOutboxMachine = OutboxMachine.TestCase


TestOutboxMachine.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


def test_put_survives_sigkill_at_once_after_it_returned(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom edge.outbox import Outbox\n"
        "outbox = Outbox(Path(sys.argv[1]), max_mb=10, max_age_days=1)\n"
        "for number in range(100): outbox.put(f'event-{number}', 'topic', b'payload')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "outbox.db"
    killed = subprocess.run([sys.executable, "-c", program, str(path)], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    outbox = open_outbox(path)
    assert ids(outbox) == [f"event-{number}" for number in range(100)]
    outbox.close()


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    """Loss of power cannot be had in a test; what SQLite promises against it can be asked."""
    outbox = open_outbox(tmp_path / "outbox.db")
    assert outbox._file is not None
    database, full, normal = outbox._file._database, 2, 1
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    fill(outbox, 1)
    assert database.execute("PRAGMA synchronous").fetchone() == (full,)
    outbox.delete(["event-0"])
    assert database.execute("PRAGMA synchronous").fetchone() == (normal,)
    fill(outbox, 1)
    assert database.execute("PRAGMA synchronous").fetchone() == (full,)
    with disk_without_room(), capture_logs():
        outbox.delete(["event-0"])
    fill(outbox, 1, first=1)  # a deletion goes along
    assert database.execute("PRAGMA synchronous").fetchone() == (full,)
    outbox.close()


def test_memory_for_events_is_bounded_and_the_oldest_go_counted(tmp_path: Path, logs: list[Any]) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    with disk_without_room():
        fill(outbox, 1_005)
    assert ids(outbox) == [f"event-{number}" for number in range(5, 1_005)]
    assert outbox.dropped == 5
    assert [entry["event"] for entry in logs] == ["outbox_not_writable", "oldest_events_dropped"]
    outbox.close()


def test_size_cap_drops_the_oldest_and_says_so(tmp_path: Path, logs: list[Any]) -> None:
    outbox = open_outbox(tmp_path / "outbox.db", max_mb=1)
    fill(outbox, 60, size=40_000)
    waiting = ids(outbox)
    assert waiting == [f"event-{number}" for number in range(60 - len(waiting), 60)]
    assert 10 < len(waiting) < 26
    assert outbox.dropped == 60 - len(waiting)
    assert outbox.depth == len(waiting)
    assert {entry["event"] for entry in logs} == {"oldest_events_dropped"}
    outbox.close()


def put_mixed(outbox: Outbox, count: int, size: int) -> None:
    """Events and minutes by turns."""
    for number in range(count):
        outbox.put(f"event-{number}", "event", b"x" * size)
        outbox.put(f"minute-{number}", "minute", b"x" * size, telemetry=True)


def test_size_cap_drops_telemetry_before_any_event(tmp_path: Path, logs: list[Any]) -> None:
    outbox = open_outbox(tmp_path / "outbox.db", max_mb=1)
    put_mixed(outbox, 20, 40_000)
    waiting = ids(outbox)
    assert [name for name in waiting if name.startswith("event")] == [f"event-{number}" for number in range(20)]
    assert len(waiting) < 30
    assert outbox.dropped == 40 - len(waiting)
    fill(outbox, 20, first=20, size=40_000)
    waiting = ids(outbox)
    assert not [name for name in waiting if name.startswith("minute")]
    assert waiting == [f"event-{number}" for number in range(40 - len(waiting), 40)]
    outbox.close()


def test_memory_drops_telemetry_before_any_event(tmp_path: Path, logs: list[Any]) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    with disk_without_room():
        put_mixed(outbox, 700, 10)
        waiting = ids(outbox)
    assert [name for name in waiting if name.startswith("event")] == [f"event-{number}" for number in range(700)]
    assert [name for name in waiting if name.startswith("minute")] == [f"minute-{number}" for number in range(400, 700)]
    outbox.close()


def test_outbox_of_the_first_release_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    database = sqlite3.connect(path)
    database.executescript(
        "PRAGMA journal_mode = WAL; CREATE TABLE message (number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT "
        "NULL UNIQUE, topic TEXT NOT NULL, payload BLOB NOT NULL, stored_at REAL);"
        "PRAGMA application_id = 0x41435541; PRAGMA user_version = 1;"
        "INSERT INTO message VALUES (7, 'old', 'topic', x'00', NULL);"
    )
    database.close()
    outbox = open_outbox(path)
    outbox.put("new", "topic", b"1", telemetry=True)
    assert [(row.event_id, row.number, row.telemetry) for row in outbox.pending(3)] == [
        ("old", 0, False),
        ("new", 1, True),
    ]
    outbox.close()
