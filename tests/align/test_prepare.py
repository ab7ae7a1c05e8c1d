"""`python -m align.prepare`: what is stored, what is left out, and how wrong input is told."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
import soundfile

from align.audio import load
from align.corpora import CorpusError
from align.preparation import prepare, to_pcm
from edge.errors import UserError
from tests.preparing import HEADER, ROOT, corpus, errors, run, settings
from tests.sounds import write_sound, write_text


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
