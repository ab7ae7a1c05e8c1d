"""Reports on disk: what survives a kill, a full disk and a change of settings."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from align.corpora import Recording
from align.corpora.recording import Split
from align.reports.errors import ReportError
from align.reports.store import Report, ReportStore
from tests.align.conftest import ROOT

SETTINGS: dict[str, object] = {"writer": "server", "model": "m", "seed": 0, "hide": [], "prompt_hash": "p"}


def a_report(number: int) -> Report:
    return Report(
        path=f"{number}.wav",
        corpus="tiny",
        group="ann",
        split="train",
        report=f"No murmur is heard.\n{number}",
        writer="server",
        model="m",
        prompt_hash="p",
        seed=0,
        hidden="",
        attempts=1,
        fallback=False,
        problems="",
        digest=f"d{number}",
    )


def fill(output: Path, numbers: range, *, finish: bool = False) -> None:
    with ReportStore(output, SETTINGS) as store:
        for number in numbers:
            store.add(a_report(number), at_once=True)
        if finish:
            store.finish([])


def test_stopped_run_is_resumed_and_consolidated(tmp_path: Path) -> None:
    output = tmp_path / "new" / "r.parquet"
    fill(output, range(3))
    assert not output.exists()
    with ReportStore(output, SETTINGS) as store:
        assert store.reports == {f"{number}.wav": a_report(number) for number in range(3)}
    fill(output, range(3, 5), finish=True)
    fill(output, range(5, 6), finish=True)
    table = parquet.read_table(output)
    assert [Report(**row) for row in table.to_pylist()] == [a_report(number) for number in range(6)]
    assert json.loads(table.schema.metadata[b"acula_reports"])["settings"] == SETTINGS
    assert [path.name for path in output.parent.iterdir()] == ["r.parquet"]


def rows_of(numbers: range, group: str = "ann", split: Split = "train") -> list[tuple[str, Recording]]:
    return [(f"{n}.wav", Recording(Path(f"{n}.wav"), "tiny", group, split, "heart", "")) for n in numbers]


def finish(output: Path, rows: list[tuple[str, Recording]]) -> list[Report]:
    with ReportStore(output, SETTINGS) as store:
        store.finish(rows)
    return [Report(**row) for row in parquet.read_table(output).to_pylist()]


def test_person_who_moved_between_splits_is_moved_though_nothing_is_new(tmp_path: Path) -> None:
    output = tmp_path / "r.parquet"
    fill(output, range(3), finish=True)
    moved = finish(output, [*rows_of(range(2)), *rows_of(range(2, 3), "bob", "test")])
    assert [(row.group, row.split) for row in moved] == [("ann", "train"), ("ann", "train"), ("bob", "test")]
    assert moved[:2] == [a_report(0), a_report(1)]
    assert [row.path for row in finish(output, rows_of(range(3))[::-1])] == ["2.wav", "1.wav", "0.wav"]


def test_file_in_which_nothing_changes_is_left_as_it_is(tmp_path: Path) -> None:
    output = tmp_path / "r.parquet"
    fill(output, range(3), finish=True)
    before = output.stat()
    finish(output, rows_of(range(3)))
    assert (output.stat().st_ino, output.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_journal_that_the_next_process_began_is_left_to_it(tmp_path: Path) -> None:
    output, journal = tmp_path / "r.parquet", tmp_path / "r.parquet.journal"
    first = ReportStore(output, SETTINGS)
    with first:
        first.add(a_report(0), at_once=True)
        first.finish([])
        second = ReportStore(output, SETTINGS)
    with second:
        assert journal.exists()
        second.add(a_report(1), at_once=True)
    with ReportStore(output, SETTINGS) as third:
        assert set(third.reports) == {"0.wav", "1.wav"}


def test_line_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    output, journal = tmp_path / "r.parquet", tmp_path / "r.parquet.journal"
    fill(output, range(3))
    whole = journal.read_bytes()
    for length in (*range(0, len(whole), 37), len(whole) - 1):
        journal.write_bytes(whole[:length])
        with ReportStore(output, SETTINGS) as store:
            lines = max(0, whole[:length].count(b"\n") - 1)
            assert len(store.reports) == lines
            store.add(a_report(9), at_once=True)
        with ReportStore(output, SETTINGS) as store:
            assert len(store.reports) == lines + 1
        journal.unlink()


def test_journal_left_beside_its_finished_file_does_no_harm(tmp_path: Path) -> None:
    """A kill between the two last steps of `finish`."""
    output, journal = tmp_path / "r.parquet", tmp_path / "r.parquet.journal"
    fill(output, range(3))
    lines = journal.read_bytes()
    fill(output, range(0), finish=True)
    journal.write_bytes(lines)
    fill(output, range(3, 4), finish=True)
    assert parquet.read_table(output).num_rows == 4


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"model": "other"}, "model (m, now other)"),
        ({"seed": 1}, "seed (0, now 1)"),
        ({"hide": ["murmur"]}, "hide ([], now ['murmur'])"),
        ({"prompt_hash": "q"}, "prompt_hash (p, now q)"),
    ],
)
@pytest.mark.parametrize("finish", [False, True])
def test_other_settings_are_refused(tmp_path: Path, changed: dict[str, object], told: str, finish: bool) -> None:
    output = tmp_path / "r.parquet"
    fill(output, range(2), finish=finish)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ReportError) as caught:
        ReportStore(output, {**SETTINGS, **changed})
    assert f"holds reports with another {told}; name another --output or remove it" in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_run_that_wrote_nothing_binds_nobody(tmp_path: Path) -> None:
    output = tmp_path / "r.parquet"
    fill(output, range(0))
    with ReportStore(output, {**SETTINGS, "seed": 1}) as store:
        assert not store.reports


def test_second_process_is_refused(tmp_path: Path) -> None:
    with ReportStore(tmp_path / "r.parquet", SETTINGS), pytest.raises(ReportError, match="another process writes it"):
        ReportStore(tmp_path / "r.parquet", SETTINGS)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PAR1 but no more", "cannot be read"), (b"", "cannot be read"), (b"path,report\n", "cannot be read")],
)
def test_file_that_is_no_parquet_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    output = tmp_path / "r.parquet"
    output.write_bytes(content)
    with pytest.raises(ReportError, match=f"r.parquet: {message}") as caught:
        ReportStore(output, SETTINGS)
    assert "\n" not in str(caught.value)
    assert output.read_bytes() == content


def test_parquet_of_another_program_is_refused(tmp_path: Path) -> None:
    import pyarrow

    output = tmp_path / "r.parquet"
    parquet.write_table(pyarrow.table({"a": [1]}), output)
    with pytest.raises(ReportError, match="holds no reports of this program"):
        ReportStore(output, SETTINGS)


def test_damaged_journal_is_refused(tmp_path: Path) -> None:
    output, journal = tmp_path / "r.parquet", tmp_path / "r.parquet.journal"
    fill(output, range(3))
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + b"{broken\n" + lines[2])
    with pytest.raises(ReportError, match="journal: is damaged"):
        ReportStore(output, SETTINGS)


@pytest.mark.parametrize("name", ["file/r.parquet", "folder", "/proc/r.parquet"])
def test_output_that_cannot_be_written_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(ReportError, match=r"cannot be written \(|is a folder; name a file"):
        ReportStore(tmp_path / name, SETTINGS)


FULL_DISK = """
import resource, sys
from pathlib import Path
from tests.align.test_report_store import SETTINGS, a_report
from align.reports.store import ReportStore
limit = int(sys.argv[2])
with ReportStore(Path(sys.argv[1]), SETTINGS) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for number in range(100):
        store.add(a_report(number), at_once=True)
    store.finish([])
"""


def test_full_disk_keeps_every_finished_report(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: the kernel refuses to write, in the middle of a line."""
    output, journal = tmp_path / "r.parquet", tmp_path / "r.parquet.journal"
    command = [sys.executable, "-c", FULL_DISK, str(output), "2000"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    told = run.stderr.splitlines()[-1]
    kept = journal.read_bytes().count(b"\n") - 1
    assert kept >= 3
    assert journal.read_bytes().endswith(b"\n")
    assert f"cannot be written (File too large); the {kept} reports before are kept in {journal}; make room" in told
    fill(output, range(kept, 100), finish=True)
    assert parquet.read_table(output).num_rows == 100


def test_full_disk_at_the_end_keeps_the_journal(tmp_path: Path) -> None:
    output, journal = tmp_path / "r.parquet", tmp_path / "r.parquet.journal"
    fill(output, range(100))
    size = journal.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with ReportStore(output, SETTINGS) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(ReportError, match=r"cannot be written .*; the 100 reports before are kept in"):
                store.finish([])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert journal.stat().st_size == size
    assert sorted(path.name for path in tmp_path.iterdir()) == [journal.name]
