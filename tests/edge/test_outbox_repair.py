"""A damaged outbox: set aside, read as far as it can be, and the daemon's events go on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge import clock
from tests.outboxes import disk_without_room, fill, ids, open_outbox, run_on_small_disk

ROOT = Path(__file__).parents[2]


def filled(path: Path, count: int) -> list[str]:
    outbox = open_outbox(path)
    fill(outbox, count)
    outbox.close()
    return [f"event-{number}" for number in range(count)]


def damage_page_of(path: Path, table: str, *leaves: int) -> None:
    """Overwrite a table's root page, or the pages of its n-th leaves in order; nobody has the file open."""
    database = sqlite3.connect(path)
    size = database.execute("PRAGMA page_size").fetchone()[0]
    root = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
    database.close()
    content = bytearray(path.read_bytes())
    # An interior page: at 12 the places of its cells, each of which begins with the number of its left child.
    interior = content[(root - 1) * size : root * size]
    cells = [int.from_bytes(interior[12 + 2 * leaf : 14 + 2 * leaf], "big") for leaf in leaves]
    for page in [int.from_bytes(interior[cell : cell + 4], "big") for cell in cells] or [root]:
        content[(page - 1) * size : page * size] = b"\xff" * size
    path.write_bytes(content)


DAMAGED_LETTERS = "UPDATE message SET topic = CAST(x'ff61' AS TEXT) WHERE event_id = 'event-2'"


def change(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def set_aside(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".damaged-" in path.name]


def test_damaged_pages_cost_no_more_than_the_events_on_them(tmp_path: Path, logs: list[Any]) -> None:
    path = tmp_path / "outbox.db"
    filled(path, 200)
    damage_page_of(path, "message", 2, 9, 15)
    outbox = open_outbox(path)
    fill(outbox, 5, first=200)
    found = ids(outbox)
    assert found == sorted(found, key=lambda name: int(name.partition("-")[2]))
    assert found[0] == "event-0"
    assert found[-5:] == [f"event-{number}" for number in range(200, 205)]
    # They are of this run still, and so not historical.
    assert [row.number for row in outbox.pending(10_000)][-6:] == [0, 1, 2, 3, 4, 5]
    assert 170 < len(found) < 200
    assert outbox.depth == len(found)
    assert f"{len(found) - 5} messages could be read" in outbox.trouble or f"{len(found)} messages" in outbox.trouble
    assert len(set_aside(tmp_path)) == 1
    assert set_aside(tmp_path)[0] in outbox.trouble
    outbox.close()
    assert [entry["event"] for entry in logs] == ["outbox_damaged", "outbox_salvaged", "outbox_writable_again"]
    outbox = open_outbox(path)
    assert ids(outbox) == found
    assert not outbox.trouble
    outbox.close()


def test_older_damaged_files_go_so_that_a_disk_that_wears_out_is_not_filled(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    for second in range(4):
        for suffix in ("", "-wal"):
            (tmp_path / f"outbox.db.damaged-20200101T00000{second}Z{suffix}").touch()
    (tmp_path / "outbox.db.damaged.txt").touch()
    filled(path, 200)
    damage_page_of(path, "message", 2)
    outbox = open_outbox(path)
    assert len(ids(outbox)) > 100
    outbox.close()
    left = sorted(set_aside(tmp_path))
    assert left[:2] == ["outbox.db.damaged-20200101T000003Z", "outbox.db.damaged-20200101T000003Z-wal"]
    assert len({name.removesuffix("-wal").removesuffix("-shm") for name in left}) == 2
    assert (tmp_path / "outbox.db.damaged.txt").exists()


def test_event_of_damaged_letters_is_left_behind_and_holds_nothing_up(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    filled(path, 5)
    change(path, DAMAGED_LETTERS)
    outbox = open_outbox(path)
    assert ids(outbox) == ["event-0", "event-1", "event-3", "event-4"]
    outbox.delete(["event-0", "event-1", "event-3", "event-4"])
    assert outbox.depth == 0
    outbox.close()


@pytest.mark.parametrize("damage", ["topic = 'acula/#'", "topic = ''", "payload = 'text'", "event_id = x'00'"])
def test_row_that_no_broker_would_take_is_left_behind_by_a_repair(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "outbox.db"
    filled(path, 5)
    change(path, f"UPDATE message SET {damage} WHERE event_id = 'event-1'", DAMAGED_LETTERS)  # noqa: S608
    outbox = open_outbox(path)
    assert ids(outbox) == ["event-0", "event-3", "event-4"]
    outbox.close()


def test_what_is_salvaged_keeps_its_kind_and_its_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "is_synchronised", lambda: True)
    path = tmp_path / "outbox.db"
    outbox = open_outbox(path)
    outbox.put("minute", "topic", b"1", telemetry=True)
    fill(outbox, 3)
    outbox.close()
    change(path, DAMAGED_LETTERS)
    outbox = open_outbox(path, max_age_days=0)
    kinds = {row.event_id: row.telemetry for row in outbox.pending(10)}
    assert kinds == {"minute": True, "event-0": False, "event-1": False}
    outbox.maintain()
    assert outbox.depth == 0
    outbox.close()


def test_damaged_file_of_the_first_release_is_salvaged(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    put = filled(path, 200)
    change(path, "DROP INDEX message_telemetry", "ALTER TABLE message DROP COLUMN telemetry", "PRAGMA user_version = 1")
    damage_page_of(path, "message", 2)
    outbox = open_outbox(path)
    assert 170 < len(set(put) & set(ids(outbox))) < 200
    outbox.close()


IN_A_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from tests.edge.test_outbox_repair import damage_page_of, filled
from tests.outboxes import ids, open_outbox
disk = Path(sys.argv[1])
def resize(pages): subprocess.run(["mount", "-o", f"remount,size={pages * 4096}", str(disk)], check=True)
path = disk / "outbox.db"
put = filled(path, 100)
damage_page_of(path, "message", 2)
used = path.stat().st_size // 4096 + 8
for room in range(0, 4 * used, 2):
    resize(used + room)
    outbox = open_outbox(path)
    found = ids(outbox)
    assert outbox.trouble
    outbox.close()
    if found: break
assert 80 < len(set(put) & set(found)) < 100, (room, len(found))
assert ids(open_outbox(path)) == found
print("nothing lost")
"""


def test_damaged_file_on_a_disk_with_however_little_room_loses_nothing_more(tmp_path: Path) -> None:
    """The disk grows until a repair succeeds."""
    run_on_small_disk(IN_A_SMALL_DISK, tmp_path, "4m")


@pytest.mark.parametrize("table", ["sqlite_sequence", "sqlite_autoindex_message_1", "message_telemetry"])
def test_damage_beside_the_events_costs_none(tmp_path: Path, table: str) -> None:
    path = tmp_path / "outbox.db"
    put = filled(path, 30)
    damage_page_of(path, table)
    outbox = open_outbox(path)
    outbox.put("new", "topic", b"1", telemetry=True)
    assert ids(outbox) == [*put, "new"]
    outbox.delete(["event-3"])
    assert outbox.depth == 30
    outbox.close()
    assert len(set_aside(tmp_path)) == 1


@pytest.mark.parametrize("content", [bytes(8192), b"SQLite format 3\0" + bytes(50), os.urandom(5000)])
def test_file_that_is_wholly_unreadable_is_set_aside_and_a_new_one_begun(
    tmp_path: Path, content: bytes, logs: list[Any]
) -> None:
    path = tmp_path / "outbox.db"
    filled(path, 3)  # leaves the lock that shows whose file it is
    path.write_bytes(content)
    outbox = open_outbox(path)
    fill(outbox, 3)
    assert ids(outbox) == ["event-0", "event-1", "event-2"]
    outbox.close()
    [aside] = set_aside(tmp_path)
    assert (tmp_path / aside).read_bytes() == content
    assert [entry["event"] for entry in logs][:2] == ["outbox_damaged", "outbox_salvaged"]


def test_damaged_file_on_a_full_disk_stays_until_there_is_room(tmp_path: Path, logs: list[Any]) -> None:
    path = tmp_path / "outbox.db"
    filled(path, 200)
    damage_page_of(path, "message", 2)
    with disk_without_room():
        outbox = open_outbox(path)
        fill(outbox, 2, first=200)
        assert ids(outbox) == ["event-200", "event-201"]
        assert outbox.trouble
        assert not set_aside(tmp_path)
    outbox.maintain()
    found = ids(outbox)
    assert found[0] == "event-0"
    assert found[-3:] == ["event-199", "event-200", "event-201"]
    outbox.close()


REPAIR_AND_DIE = """
import os, signal, sys
from pathlib import Path
calls = 0
def die_at(number, act):
    def counted(*arguments, **options):
        global calls
        calls += 1
        if calls > number: os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **options)
    return counted
at = int(sys.argv[2])
Path.rename, Path.replace = die_at(at, Path.rename), die_at(at, Path.replace)
from edge.outbox import Outbox
Outbox(Path(sys.argv[1]), max_mb=10, max_age_days=30).pending(10_000)
"""


@pytest.mark.parametrize("moves", range(5))
def test_repair_that_is_killed_between_any_two_moves_is_finished_by_the_next_start(tmp_path: Path, moves: int) -> None:
    path = tmp_path / "outbox.db"
    filled(path, 200)
    damage_page_of(path, "message", 2)
    run = subprocess.run([sys.executable, "-c", REPAIR_AND_DIE, str(path), str(moves)], cwd=ROOT, check=False)
    assert run.returncode in (0, -signal.SIGKILL)
    outbox = open_outbox(path)
    found = ids(outbox)
    assert found[0] == "event-0"
    assert found[-1] == "event-199"
    assert 180 < len(found) < 200
    outbox.close()
    assert sorted(item.name for item in tmp_path.iterdir() if ".salvag" in item.name) == []
