"""`python -m align.prepare`: what is stored, that it resumes, and that nothing half-written is ever trusted."""

from __future__ import annotations

import csv
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from align.audio import load
from align.config import PrepareSettings
from align.corpora import CorpusError
from align.prepare import prepare, to_pcm
from edge.errors import UserError
from tests.sounds import write_sound, write_text

ROOT = Path(__file__).parents[2]
HEADER = "path,group,split,event,cough_times,licence,modality,age"


def corpus(folder: Path) -> Path:
    """Three recordings of two people, one of them stereo at another rate."""
    write_sound(folder / "a.wav", 0.5, 16000)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (22050, 2))
    soundfile.write(folder / "b.wav", noise, 44100, subtype="PCM_24")
    write_sound(folder / "deep.er" / "c.wav", 0.25, 16000)
    write_text(
        folder / "recordings.csv",
        HEADER,
        "a.wav,ann,train,cough,0.1-0.2;0.3-0.45,CC0-1.0,airborne,41",
        "b.wav,bob,test,breath,,,lung,",
        "deep.er/c.wav,ann,train,,,,,",
    )
    return folder


def settings(root: Path, output: Path, **changes: object) -> PrepareSettings:
    return PrepareSettings.model_validate({"corpus": "table", "root": root, "output": output, "workers": 2, **changes})


def run(*flags: str | Path, limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "align.prepare", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit)


def errors(completed: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of standard error that are no progress bar."""
    return [line for line in completed.stderr.splitlines() if line and not line.startswith("prepare:")]


def test_recordings_are_stored_decoded_mixed_and_resampled(tmp_path: Path) -> None:
    assert prepare(settings(corpus(tmp_path / "in"), tmp_path / "out")) == (3, [])
    stored = datasets.load_from_disk(str(tmp_path / "out"))
    assert {split: len(rows) for split, rows in stored.items()} == {"train": 2, "test": 1}
    first, last = stored["train"]
    wav, _ = soundfile.read(tmp_path / "in" / "a.wav", dtype="int16")
    np.testing.assert_array_equal(first["samples"], wav, "16 bits at the same rate come back bit for bit")
    assert last["path"] == "deep.er/c.wav"
    np.testing.assert_array_equal(
        stored["test"][0]["samples"], to_pcm(load(tmp_path / "in" / "b.wav", 16000)), "the trainings' own decoding"
    )


def test_all_that_is_known_of_a_recording_is_stored_with_it(tmp_path: Path) -> None:
    prepare(settings(corpus(tmp_path / "in"), tmp_path / "out", sample_rate_hz=4000))
    row = datasets.load_from_disk(str(tmp_path / "out"))["train"][0]
    assert (row["corpus"], row["group"], row["event"]) == ("recordings", "ann", "cough")
    assert (row["modality"], row["licence"], row["sample_rate_hz"]) == ("airborne", "CC0-1.0", 4000)
    np.testing.assert_allclose(row["times_s"], [[0.1, 0.2], [0.3, 0.45]])
    assert json.loads(row["metadata"]) == {"age": "41"}
    assert json.loads(row["labels"]) == {}
    assert len(row["samples"]) == 2000


def test_samples_are_16_bit_on_disk(tmp_path: Path) -> None:
    prepare(settings(corpus(tmp_path / "in"), tmp_path / "out"))
    stored = datasets.load_from_disk(str(tmp_path / "out"))["train"]
    assert stored.features["samples"].feature.dtype == "int16"


def test_louder_than_full_scale_is_clipped_not_wrapped() -> None:
    assert to_pcm(np.array([1.5, 1.0, -1.0, -2.0, 0.5], np.float32)).tolist() == [32767, 32767, -32768, -32768, 16384]


def test_bad_file_is_listed_and_left_out_and_the_run_fails(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    (root / "a.wav").write_bytes(b"")
    (root / "b.wav").unlink()
    completed = run("table", "--root", root, "--output", output)
    assert completed.returncode == 2
    *skipped, last = errors(completed)
    assert len(skipped) == 2
    assert any("a.wav: cannot be decoded" in line for line in skipped)
    assert last.startswith(f"error: {root}: 2 problems in 3 recordings, more than 1%, listed in {output}/skipped.csv")
    with (output / "skipped.csv").open(newline="") as stream:
        assert [row["path"] for row in csv.DictReader(stream)] == ["a.wav", "b.wav"]
    stored = datasets.load_from_disk(str(output))
    assert [row["path"] for row in stored["train"]] == ["deep.er/c.wav"]
    assert len(stored["test"]) == 0


def test_line_of_a_table_that_is_not_understood_is_not_left_out_in_silence(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    table = root / "recordings.csv"
    table.write_text(table.read_text().replace("b.wav,bob,test", "b.wav,bob,tset"))
    completed = run("table", "--root", root, "--output", output)
    assert completed.returncode == 2
    assert "2 of 2 recordings" in completed.stdout
    assert "line 3: split is 'tset'" in errors(completed)[0]
    assert "line 3: split is 'tset'" in (output / "skipped.csv").read_text()


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
    if os.access(root / "a.wav", os.R_OK):
        pytest.skip("whoever runs this may read every file (root)")
    assert len(prepare(settings(root, output))[1]) == 1
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


NUL = pytest.param("a\0", marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="csv itself refuses NUL"))


@pytest.mark.parametrize("name", ["a" * 300, NUL])
def test_path_that_no_file_can_have_is_a_file_left_out(tmp_path: Path, name: str) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    table = root / "recordings.csv"
    table.write_text(table.read_text().replace("b.wav", f"{name}.wav"))
    total, (skipped,) = prepare(settings(root, output))
    assert (total, skipped.path) == (3, f"{name}.wav")


def test_corpus_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "in" / "recordings.csv").mkdir(parents=True)
    completed = run("table", "--root", tmp_path / "in", "--output", tmp_path / "out")
    assert completed.returncode == 2
    (line,) = errors(completed)
    assert line.endswith("recordings.csv cannot be read (Is a directory)")


def test_corpus_without_validation_is_stored_with_one(tmp_path: Path) -> None:
    people = range(101, 141)
    for person in people:
        write_sound(tmp_path / "in" / "train" / f"steth_{person}.wav")
        write_text(tmp_path / "in" / "train" / f"steth_{person}_label.txt", "I 00:00:00 00:00:00.1")
    write_sound(tmp_path / "in" / "test" / "steth_99.wav")
    write_text(tmp_path / "in" / "test" / "steth_99_label.txt", "I 00:00:00 00:00:00.1")
    prepare(settings(tmp_path / "in", tmp_path / "out", corpus="hf-lung"))
    stored = datasets.load_from_disk(str(tmp_path / "out"))
    assert set(stored) == {"train", "validation", "test"}
    assert len(stored["train"]) + len(stored["validation"]) == len(people)


def test_one_bad_file_in_a_hundred_is_forgiven(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "in" / "sound.wav")
    for number in range(100):
        (tmp_path / "in" / f"{number}.wav").hardlink_to(sound)
    (tmp_path / "in" / "7.wav").unlink()
    lines = (f"{number}.wav,person-{number},train,cough,,,," for number in range(100))
    write_text(tmp_path / "in" / "recordings.csv", HEADER, *lines)
    completed = run("table", "--root", tmp_path / "in", "--output", tmp_path / "out")
    assert completed.returncode == 0, completed.stderr
    assert "99 of 100 recordings" in completed.stdout
    assert any("7.wav" in line for line in errors(completed))


def many(folder: Path) -> Path:
    """400 recordings, enough for several shards and for a moment between two of them."""
    sound = write_sound(folder / "sound.wav", 8.0, 44100)
    for number in range(400):
        (folder / f"{number}.wav").hardlink_to(sound)
    lines = (f"{number}.wav,person-{number},{'test' if number % 4 else 'train'},cough,,,," for number in range(400))
    write_text(folder / "recordings.csv", HEADER, *lines)
    return folder


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_stopped_run_is_not_loadable_and_goes_on_where_it_was(tmp_path: Path, how: signal.Signals) -> None:
    root, output = many(tmp_path / "in"), tmp_path / "out"
    flags = ["table", "--root", str(root), "--output", str(output), "--workers", "1"]
    command = [sys.executable, "-m", "align.prepare", *flags]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while process.poll() is None and not list(output.glob("*/shard-*.json")):
        time.sleep(0.01)
    process.send_signal(how)
    _, told = process.communicate()
    assert process.returncode == (130 if how == signal.SIGINT else -signal.SIGKILL)
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
    unshare = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*unshare, "true"], check=False).returncode:
        pytest.skip("no file system can be mounted here (unshare)")
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
    completed = subprocess.run([*unshare, "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
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


def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/out: cannot be written \(Not a directory\)"):
        prepare(settings(corpus(tmp_path / "in"), tmp_path / "file" / "out"))


def test_folder_of_another_preparation_or_of_something_else_is_refused(tmp_path: Path) -> None:
    root, output = corpus(tmp_path / "in"), tmp_path / "out"
    prepare(settings(root, output))
    with pytest.raises(UserError, match="holds another sample_rate_hz; name another --output or remove it"):
        prepare(settings(root, output, sample_rate_hz=4000))
    write_text(tmp_path / "mine" / "thesis.txt", "important")
    with pytest.raises(UserError, match="is not empty and holds no preparation"):
        prepare(settings(root, tmp_path / "mine"))


def test_person_in_two_splits_stops_before_anything_is_written(tmp_path: Path) -> None:
    root = corpus(tmp_path / "in")
    table = root / "recordings.csv"
    table.write_text(table.read_text().replace("b.wav,bob", "b.wav,ann"))
    with pytest.raises(CorpusError, match="group ann is in train and in test"):
        prepare(settings(root, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["cosvara", "--root", ".", "--output", "x"], "no corpus is called cosvara; there are bmd-hs, circor"),
        (["table", "--root", "/nowhere/at/all", "--output", "x"], "/nowhere/at/all: no such folder"),
        (["table", "--root", ".", "--output", "x", "--sample_rate_hz", "16"], "from 1000 to 48000"),
        (["table", "--root", "."], "output is not set; give --output"),
    ],
)
def test_wrong_command_is_one_line_and_status_2(flags: list[str], said: str) -> None:
    completed = run(*flags)
    assert completed.returncode == 2
    (line,) = errors(completed)
    assert said in line
    assert not (ROOT / "x").exists()
