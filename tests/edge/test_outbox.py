from __future__ import annotations

import contextlib
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import LogCapture

from edge import clock
from edge.errors import OutboxError
from edge.outbox import Outbox

ROOT = Path(__file__).parents[2]


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    capture = LogCapture()
    structlog.configure(processors=[capture])
    yield capture.entries
    structlog.reset_defaults()


def open_outbox(path: Path, *, max_mb: float = 10, max_age_days: float = 30) -> Outbox:
    return Outbox(path, max_mb=max_mb, max_age_days=max_age_days)


def fill(outbox: Outbox, count: int, first: int = 0, size: int = 400) -> None:
    for number in range(first, first + count):
        outbox.put(f"event-{number}", "topic", b"x" * size)


def ids(outbox: Outbox, limit: int = 10_000) -> list[str]:
    return [row.event_id for row in outbox.pending(limit)]


@contextlib.contextmanager
def disk_without_room() -> Iterator[None]:
    """No file of this process may grow: to SQLite the same as a disk without room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_messages_come_oldest_first_until_deleted(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 5)
    assert [row.event_id for row in outbox.pending(2, exclude=["event-0"])] == ["event-1", "event-2"]
    outbox.delete(["event-1", "event-3", "never there"])
    assert ids(outbox) == ["event-0", "event-2", "event-4"]
    assert outbox.depth == 3
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
    outbox.delete(ids(outbox))
    last = outbox.last_number
    outbox.close()
    outbox = open_outbox(tmp_path / "outbox.db")
    assert outbox.last_number == last
    fill(outbox, 1)
    assert outbox.pending(1)[0].number > last
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
    full = 2
    assert outbox._database.execute("PRAGMA synchronous").fetchone() == (full,)
    assert outbox._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    outbox.close()


def test_disk_that_takes_no_writes_holds_events_in_memory_and_then_writes_them(tmp_path: Path, logs: list[Any]) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 10)
    with disk_without_room():
        fill(outbox, 100, first=10)
        assert outbox.trouble
        assert ids(outbox) == [f"event-{number}" for number in range(110)]
        # An acknowledged event does not come back, although it cannot be taken off the disk either.
        outbox.delete(["event-0", "event-50"])
        assert outbox.depth == 108
        assert not {"event-0", "event-50"} & set(ids(outbox))
    outbox.maintain()
    assert not outbox.trouble
    outbox.close()
    outbox = open_outbox(tmp_path / "outbox.db")
    assert ids(outbox) == [f"event-{number}" for number in range(110) if number not in (0, 50)]
    outbox.close()
    assert [entry["event"] for entry in logs] == ["outbox_not_writable", "outbox_writable_again"]


def test_trouble_ends_when_the_held_events_were_delivered_before_the_disk_recovered(
    tmp_path: Path, logs: list[Any]
) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    with disk_without_room():
        fill(outbox, 3)
        outbox.delete(ids(outbox))
        outbox.maintain()
        assert outbox.trouble
    outbox.maintain()
    assert not outbox.trouble
    outbox.close()
    assert [entry["event"] for entry in logs] == ["outbox_not_writable", "outbox_writable_again"]


def test_trouble_with_the_age_cap_ends_when_the_disk_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 3)
    age(tmp_path / "outbox.db", 31)
    with disk_without_room():
        outbox.maintain()
        assert outbox.trouble
    outbox.maintain()
    assert not outbox.trouble
    assert outbox.depth == 0
    outbox.close()
    assert [entry["event"] for entry in logs] == [
        "outbox_not_writable",
        "outbox_writable_again",
        "oldest_events_dropped",
    ]


def damage_page_of(path: Path, table: str, *, leaf: int | None = None) -> None:
    """Overwrite a table's root page, or the page of its n-th leaf in order; nobody has the file open."""
    database = sqlite3.connect(path)
    size = database.execute("PRAGMA page_size").fetchone()[0]
    page = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    database.close()
    content = bytearray(path.read_bytes())
    if leaf is not None:
        # An interior page: at 12 the places of its cells, each of which begins with the number of its left child.
        root = content[(page - 1) * size : page * size]
        cell = int.from_bytes(root[12 + 2 * leaf : 14 + 2 * leaf], "big")
        page = int.from_bytes(root[cell : cell + 4], "big")
    content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)


@pytest.mark.parametrize("table", ["sqlite_sequence", "sqlite_autoindex_message_1"])
def test_file_with_a_damaged_root_page_is_refused_in_one_line_and_let_go(tmp_path: Path, table: str) -> None:
    path = tmp_path / "outbox.db"
    outbox = open_outbox(path)
    fill(outbox, 3)
    outbox.close()
    damage_page_of(path, table)
    for _ in range(2):  # the second would find the file in use, had the first not let go of it
        with pytest.raises(OutboxError, match=r"cannot be used as outbox: .*; move it away, or name another file$"):
            open_outbox(path).pending(1)


def test_damaged_page_costs_no_more_than_the_events_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    path = tmp_path / "outbox.db"
    outbox = open_outbox(path)
    fill(outbox, 100)
    outbox.close()
    damage_page_of(path, "message", leaf=2)
    outbox = open_outbox(path)
    assert outbox.depth == 100
    fill(outbox, 5, first=100)
    found = ids(outbox)
    assert found[0] == "event-0"
    assert {f"event-{number}" for number in range(95, 105)} <= set(found)
    assert 90 < len(found) == len(set(found)) < 105
    assert "malformed" in outbox.trouble
    with disk_without_room():
        fill(outbox, 1, first=105)
        assert ids(outbox)[-1] == "event-105"
    # What cannot be mended is told once, and does not come and go with what can.
    for _ in range(3):
        outbox.maintain()
        outbox.delete(ids(outbox, limit=2))
        assert "malformed" in outbox.trouble
    outbox.close()
    assert [entry["event"] for entry in logs] == ["outbox_damaged", "outbox_not_writable"]
    assert "move the file away" in logs[0]["action"]
    assert "free the disk" in logs[1]["action"]


def test_disk_without_room_at_the_start_is_one_line_and_blames_no_file(tmp_path: Path) -> None:
    with disk_without_room(), pytest.raises(OutboxError, match=r"cannot be used as outbox: .*disk") as refusal:
        open_outbox(tmp_path / "outbox.db")
    assert "has room" in str(refusal.value)
    assert "move it away" not in str(refusal.value)


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


def age(path: Path, days: float | None) -> None:
    database = sqlite3.connect(path)
    with database:
        if days is None:
            database.execute("UPDATE message SET stored_at = NULL")
        else:
            database.execute("UPDATE message SET stored_at = strftime('%s', 'now') - ? * 86400", (days,))
    database.close()


@pytest.mark.parametrize(
    ("clock_is_set", "days", "left"), [(True, 31, 0), (True, 29, 3), (True, None, 3), (False, 31, 3)]
)
def test_age_cap_drops_only_what_two_set_clocks_call_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock_is_set: bool, days: float | None, left: int
) -> None:
    # The kernel's answer is the machine's, not the test's: the one thing here that has to be put in its place.
    monkeypatch.setattr(clock, "is_synchronised", lambda: clock_is_set)
    outbox = open_outbox(tmp_path / "outbox.db")
    fill(outbox, 3)
    age(tmp_path / "outbox.db", days)
    outbox.maintain()
    assert outbox.depth == left
    assert len(ids(outbox)) == left
    assert outbox.dropped == 3 - left
    outbox.close()


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Below a file and in /proc not even root can write."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "outbox.db", Path("/proc/acula/outbox.db"), Path("/proc/outbox.db")):
        with pytest.raises(OutboxError, match=r"^/.*outbox\.db: .*; name a writable file as outbox\.path$") as refusal:
            open_outbox(path)
        assert "\n" not in str(refusal.value)


def test_read_only_folder_is_one_line(tmp_path: Path) -> None:
    """As an ordinary user, whom permissions bind; root becomes one, whom its own temporary folder shuts out."""
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom edge.errors import OutboxError\n"
        "from edge.outbox import Outbox\n"
        "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        "try: Outbox(Path(sys.argv[1]), max_mb=1, max_age_days=1)\n"
        "except OutboxError as error: print(error)\n"
    )
    with tempfile.TemporaryDirectory(dir="/tmp" if os.geteuid() == 0 else tmp_path) as name:
        Path(name).chmod(0o555)
        command = [sys.executable, "-c", program, f"{name}/outbox.db"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        Path(name).chmod(0o755)
    assert "its folder cannot be written: Permission denied; name a writable file" in run.stdout


def test_file_that_is_no_outbox_is_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, and longer than sixteen bytes")
    with pytest.raises(OutboxError, match="is not an outbox"):
        open_outbox(text)
    other = tmp_path / "other.db"
    database = sqlite3.connect(other)
    database.execute("CREATE TABLE theirs (a)")
    database.close()
    before = other.read_bytes()
    with pytest.raises(OutboxError, match="database of another program"):
        open_outbox(other)
    assert other.read_bytes() == before
    torn = tmp_path / "torn.db"
    torn.write_bytes(b"SQLite format 3\0" + bytes(50))
    with pytest.raises(OutboxError, match="cannot be used as outbox"):
        open_outbox(torn)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".lock") == [
        "other.db.lock",
        "torn.db.lock",
    ]


def test_outbox_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    open_outbox(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 2")
    database.close()
    with pytest.raises(OutboxError, match="has outbox format 2, this program has 1"):
        open_outbox(path)


def test_second_owner_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    first = open_outbox(path)
    with pytest.raises(OutboxError, match="in use by another process"):
        open_outbox(path)
    first.close()
    open_outbox(path).close()
