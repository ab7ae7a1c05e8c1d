"""The file of the outbox when it is damaged, foreign, in use, or on a disk that takes no writes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from edge import clock
from edge.errors import OutboxError
from tests.outboxes import age, disk_without_room, fill, ids, open_outbox

ROOT = Path(__file__).parents[2]


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
