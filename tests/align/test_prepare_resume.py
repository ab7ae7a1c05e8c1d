"""`python -m align.prepare` stopped, repeated, or out of room: it goes on, and nothing half-written is trusted."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from align.preparation import prepare
from tests.kills import stopped_after_writing
from tests.needs import MOUNTING, need_mounts
from tests.preparing import BOUND_BY_PERMISSIONS, ROOT, corpus, errors, many, run, settings
from tests.sounds import write_sound


def test_mended_file_is_taken_in_by_the_next_run(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    good = (root / "a.wav").read_bytes()
    (root / "a.wav").write_bytes(good[:5000])
    _, (skipped,) = prepare(settings(root, output))
    assert "cut short" in skipped.reason
    (root / "a.wav").write_bytes(good)
    assert prepare(settings(root, output)) == (3, [])
    assert len(datasets.load_from_disk(str(output))["train"]) == 2
    assert (output / "skipped.csv").read_text().splitlines() == ["path,reason"]


def test_bad_file_is_told_by_every_run_and_not_decoded_again(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    (root / "a.wav").write_bytes(b"")
    first = run("table", "--root", root, "--output", output)
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*") if "shard-" in path.name}
    listed = (output / "skipped.csv").read_text()
    sealed = (output / "dataset_dict.json").stat().st_mtime_ns
    second = run("table", "--root", root, "--output", output)
    assert (first.returncode, second.returncode) == (2, 2)
    assert errors(second) == errors(first)
    assert second.stdout == first.stdout
    assert (output / "skipped.csv").read_text() == listed
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert (output / "dataset_dict.json").stat().st_mtime_ns == sealed


def test_file_that_may_be_read_now_is_taken_in_by_the_next_run(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    (root / "a.wav").chmod(0)
    first = run("table", "--root", root, "--output", output, before=BOUND_BY_PERMISSIONS)
    assert first.returncode == 2
    assert "a.wav: cannot be decoded" in errors(first)[0]
    (root / "a.wav").chmod(0o600)
    assert prepare(settings(root, output)) == (3, [])


@pytest.mark.parametrize(
    "note", ["", "[]", "{}", '{"key": "k", "skipped": [7]}', '{"key": "k", "skipped": [{"x": 1}]}']
)
def test_note_that_is_none_is_not_trusted(tmp_path: Path, note: str) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    prepare(settings(root, output))
    path = output / "train" / "shard-00000.json"
    whole = path.read_text()
    path.write_text(note)
    assert prepare(settings(root, output)) == (3, [])
    assert path.read_text() == whole


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_is_not_loadable_and_goes_on_where_it_was(tmp_path: Path, how: signal.Signals) -> None:
    root, output = many(tmp_path / "in"), tmp_path / "out"
    flags = ["table", "--root", str(root), "--output", str(output), "--workers", "1"]
    told = stopped_after_writing("shard-00000.json", "align.prepare", *flags, how=how).stderr
    assert "Traceback" not in told
    with pytest.raises(FileNotFoundError):
        datasets.load_from_disk(str(output))
    done = {note: note.stat().st_ino for note in output.glob("*/shard-*.json")}
    assert done
    assert prepare(settings(root, output)) == (400, [])
    assert {note: note.stat().st_ino for note in done} == done, "what was done is not done again"
    stored = datasets.load_from_disk(str(output))
    assert {split: len(rows) for split, rows in stored.items()} == {"train": 100, "test": 300}
    assert stored["test"][299]["samples"].shape == (128000,)
    assert not list(output.rglob("*.part"))


def test_shard_written_by_half_is_written_again(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    prepare(settings(root, output))
    shard = output / "train" / "shard-00000.arrow"
    whole = shard.read_bytes()
    # As after a kill between the two: the shard is in its place, and nothing says that it is whole.
    shard.write_bytes(whole[:100])
    shard.with_suffix(".json").unlink()
    prepare(settings(root, output))
    assert shard.read_bytes() == whole


def test_changed_recording_and_moved_person_are_stored_anew(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    prepare(settings(root, output))
    write_sound(root / "a.wav", 0.75, 16000)
    table = root / "recordings.csv"
    table.write_text(table.read_text().replace("b.wav,bob,test", "b.wav,bob,train"))
    prepare(settings(root, output))
    stored = datasets.load_from_disk(str(output))
    assert {split: len(rows) for split, rows in stored.items()} == {"train": 3}
    assert len(stored["train"][0]["samples"]) == 12000
    assert not list((output / "test").glob("shard-*")), "the person is not left in the old split"


def test_second_run_writes_nothing(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    prepare(settings(root, output))
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.arrow")}
    sealed = (output / "dataset_dict.json").stat().st_mtime_ns
    prepare(settings(root, output))
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.arrow")} == before
    assert (output / "dataset_dict.json").stat().st_mtime_ns == sealed


def test_full_disk_is_one_line_and_leaves_nothing_that_is_trusted(tmp_path: Path) -> None:
    """A file system with room for one shard and no more, and then with enough."""
    need_mounts()
    root, output = many(tmp_path / "in"), tmp_path / "out"
    output.mkdir()
    prepared = f"'{sys.executable}' -m align.prepare table --root '{root}' --output '{output}'"
    loaded = f"import datasets; print(len(datasets.load_from_disk('{output}')['test']))"
    script = f"""
        mount -t tmpfs -o size=40m none '{output}'
        {prepared}; echo "status $?"
        cd '{output}'; find . -name '*.arrow' -o -name '*.part' -o -name dataset_dict.json; cd '{ROOT}'
        mount -o remount,size=400m '{output}'
        {prepared} >&2 && '{sys.executable}' -c "{loaded}"
    """
    completed = subprocess.run([*MOUNTING, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert completed.stdout.split() == ["status", "2", "./train/shard-00000.arrow", "300"], completed.stderr
    first = errors(completed)[0]
    assert first.startswith(f"error: {output}: cannot be written (No space left on device)")
    assert "run the same command again" in first


def test_file_too_large_for_the_output_is_one_line(tmp_path: Path) -> None:
    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))

    completed = run("table", "--root", corpus(tmp_path / "in"), "--output", tmp_path / "out", limit=limit)
    assert completed.returncode == 2
    (line,) = errors(completed)
    assert "cannot be written (File too large)" in line
    assert not list((tmp_path / "out").rglob("*.arrow"))
    assert not list((tmp_path / "out").rglob("*.part"))
