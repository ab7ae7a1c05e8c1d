"""The file of the outbox when it is foreign, in use, or on a disk that takes no writes."""

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
from tests.outboxes import age, disk_without_room, fill, ids, open_outbox, run_on_small_disk

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


def test_disk_without_room_at_the_start_holds_events_and_takes_up_the_file_later(
    tmp_path: Path, logs: list[Any]
) -> None:
    path = tmp_path / "outbox.db"
    outbox = open_outbox(path)
    fill(outbox, 3)
    outbox.close()
    with disk_without_room():
        outbox = open_outbox(path)
        fill(outbox, 5, first=3)
        assert outbox.trouble
        assert ids(outbox) == [f"event-{number}" for number in range(3, 8)]
        outbox.delete(["event-4"])
        outbox.maintain()
        assert outbox.depth == 4
    outbox.maintain()
    assert not outbox.trouble
    # What was on disk has waited longer: it comes first, with numbers below those of this run.
    assert [(row.event_id, row.number > 0) for row in outbox.pending(10)] == [
        (f"event-{number}", number >= 3) for number in (0, 1, 2, 3, 5, 6, 7)
    ]
    outbox.close()
    outbox = open_outbox(path)
    assert outbox.depth == 7
    outbox.close()
    assert [entry["event"] for entry in logs] == ["outbox_not_writable", "outbox_writable_again"]


def test_events_that_could_not_be_stored_until_the_end_are_told_as_lost(tmp_path: Path, logs: list[Any]) -> None:
    outbox = open_outbox(tmp_path / "outbox.db")
    with disk_without_room():
        fill(outbox, 3)
        outbox.close()
    assert [(entry["event"], entry["events"]) for entry in logs[-1:]] == [("events_lost", 3)]


IN_A_SMALL_DISK = """
import shutil, subprocess, sys
from pathlib import Path
from edge.outbox import Outbox
disk = Path(sys.argv[1])
def remount(*options): subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(disk)], check=True)
def fill(outbox, count, first=0):
    for number in range(first, first + count): outbox.put(f"event-{number}", "topic", b"x" * 1000)
def opened(): return Outbox(disk / "outbox.db", max_mb=10, max_age_days=30)
def seen(outbox): return [row.event_id for row in outbox.pending(10_000)]
remount("ro")
outbox = opened()  # neither the file nor its lock can be made
fill(outbox, 20)
assert "ead-only file system" in outbox.trouble, outbox.trouble
remount("rw")
outbox.maintain()
assert not outbox.trouble, outbox.trouble
outbox.close()
outbox = opened()
fill(outbox, 500, first=20)  # more than the disk holds
assert "full" in outbox.trouble, outbox.trouble
assert seen(outbox) == [f"event-{number}" for number in range(520)]
remount("size=4m")
outbox.maintain()
assert not outbox.trouble, outbox.trouble
outbox.close()
outbox = opened()
assert seen(outbox) == [f"event-{number}" for number in range(520)]
outbox.close()
outbox.close()
remount("ro")
outbox = Outbox(disk / "other.db", max_mb=10, max_age_days=30)
fill(outbox, 20)
remount("rw")
(disk / "other.db").write_text("what somebody has laid there meanwhile")
outbox.maintain()
assert "is not an outbox" in outbox.trouble, outbox.trouble
fill(outbox, 20, first=20)
assert seen(outbox) == [f"event-{number}" for number in range(40)]
(disk / "other.db").unlink()
outbox.maintain()
assert not outbox.trouble, outbox.trouble
print("nothing lost")
"""


def test_disk_that_is_read_only_or_full_loses_nothing(tmp_path: Path) -> None:
    run_on_small_disk(IN_A_SMALL_DISK, tmp_path, "256k")


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    """Below a file and in /proc not even root can write."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "outbox.db", Path("/proc/acula/outbox.db"), Path("/proc/outbox.db")):
        with pytest.raises(OutboxError, match=r"^/.*outbox\.db: .*; name a writable file as outbox\.path$") as refusal:
            open_outbox(path)
        assert "\n" not in str(refusal.value)


def run_as_nobody(program: str, tmp_path: Path, mode: int) -> str:
    """What a program prints as an ordinary user, whom permissions bind, told of an outbox in a folder of that mode.

    Root becomes one, whom its own temporary folder shuts out.
    """
    lines = "import os, sys\nfrom pathlib import Path\n"
    lines += "from edge.errors import OutboxError\nfrom edge.outbox import Outbox\n"
    lines += "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
    with tempfile.TemporaryDirectory(dir="/tmp" if os.geteuid() == 0 else tmp_path) as name:
        Path(name).chmod(mode)
        command = [sys.executable, "-c", lines + program, f"{name}/outbox.db"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        Path(name).chmod(0o755)
    return run.stdout


def test_file_that_can_only_be_read_gives_what_it_holds_and_memory_holds_the_rest(tmp_path: Path) -> None:
    told = run_as_nobody(
        "opened = lambda: Outbox(Path(sys.argv[1]), max_mb=1, max_age_days=1)\n"
        "outbox = opened(); outbox.put('old', 'topic', b'1'); outbox.close()\n"
        "Path(sys.argv[1]).chmod(0o400)\n"
        "outbox = opened(); outbox.put('new', 'topic', b'1')\n"
        "print(outbox.trouble, [row.event_id for row in outbox.pending(10)])\n",
        tmp_path,
        0o777,
    )
    assert told.splitlines()[-1] == "attempt to write a readonly database ['old', 'new']"


def test_read_only_folder_is_one_line(tmp_path: Path) -> None:
    told = run_as_nobody(
        "try: Outbox(Path(sys.argv[1]), max_mb=1, max_age_days=1)\nexcept OutboxError as error: print(error)\n",
        tmp_path,
        0o555,
    )
    assert "cannot be created: Permission denied; name a writable file" in told


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
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "other.db", "other.db.lock"]


def test_outbox_of_a_newer_program_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    open_outbox(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 3")
    database.close()
    with pytest.raises(OutboxError, match="has outbox format 3, this program has 2"):
        open_outbox(path)


def test_second_owner_is_refused_until_the_first_has_closed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    first = open_outbox(path)
    with pytest.raises(OutboxError, match="in use by another process"):
        open_outbox(path)
    first.close()
    open_outbox(path).close()
