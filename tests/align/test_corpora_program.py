"""`python -m align.corpora`: what it prints, and how it answers a corpus with something wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from align.corpora.__main__ import main
from tests.sounds import write_sound, write_text

ROOT = Path(__file__).parents[2]


def table(folder: Path, *lines: str) -> Path:
    for name in ("a.wav", "b.wav", "c.wav"):
        write_sound(folder / name, 1.0)
    write_text(folder / "recordings.csv", "path,group,split,event,age", *lines)
    return folder


def good(folder: Path) -> Path:
    return table(folder, "a.wav,ann,train,cough,41", "b.wav,bob,test,breath,", "c.wav,ann,train,cough,41")


def look(root: Path, name: str = "table") -> int:
    return main([name, "--root", str(root)])


def test_counts_by_split_and_label_and_durations_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sound(good(tmp_path) / "b.wav", 3.0)
    assert look(tmp_path) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["train", "1", "2", "0.00", "1.00", "1.00", "1.00"] in lines
    assert ["test", "1", "1", "0.00", "3.00", "3.00", "3.00"] in lines
    assert ["all", "2", "3", "0.00", "1.00", "1.00", "3.00"] in lines
    assert ["event:", "cough", "2", "0", "0"] in lines
    assert ["event:", "breath", "0", "0", "1"] in lines
    assert ["problems:", "0"] in lines


def test_numbers_are_told_by_their_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for rate in range(8, 28):
        write_sound(tmp_path / "audio" / f"{rate}_1_1_{rate}.5.wav")
    assert look(tmp_path, "nosemic") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("respiration_bpm")]
    assert line.split() == ["respiration_bpm", "8.5", "to", "27.5", "14", "2", "4"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "b.wav: cannot be decoded (no such file)"),
        (lambda path: path.write_bytes(b""), "b.wav: cannot be decoded"),
        (lambda path: path.write_bytes(path.read_bytes()[:4000]), "b.wav: cut short, 49% of it is there"),
        (lambda path: path.write_bytes(b"<html>404</html>" * 100), "b.wav: cannot be decoded"),
    ],
)
def test_bad_file_is_listed_and_fails_a_small_corpus(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: object, said: str
) -> None:
    damage(good(tmp_path) / "b.wav")  # type: ignore[operator]
    assert look(tmp_path) == 2
    printed = capsys.readouterr()
    assert "problems: 1\n" in printed.out
    assert said in printed.out
    assert printed.err.splitlines()[-1].startswith(
        "error: table: 1 problems in 3 recordings, more than 1%; the first: "
    )


def test_every_problem_of_a_table_is_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path, "a.wav,ann,train,cough,", "gone.wav,bob,test,,", "b.wav,,test,,", "c.wav,cid,tset,,")
    assert look(tmp_path) == 2
    printed = capsys.readouterr().out
    assert "problems: 3\n" in printed
    assert "line 4: path and group must not be empty" in printed
    assert "line 5: split is 'tset'" in printed
    assert "gone.wav: cannot be decoded (no such file)" in printed


def test_person_in_two_splits_fails_and_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path, "a.wav,ann,train,cough,", "b.wav,ann,test,cough,", "c.wav,bob,test,cough,")
    assert look(tmp_path) == 2
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == (
        "error: table: group ann is in train and in test; keep a person in one split"
    )
    assert "event: cough" in printed.out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (
            ["table", "--root", "/nowhere/at/all"],
            "/nowhere/at/all: no such folder; --root is the folder into which table",
        ),
        (["coswara", "--root", "."], "does not look like coswara: no Extracted_data in it"),
        (["cosvara", "--root", "."], "invalid choice: 'cosvara'"),
        (["table"], "the following arguments are required: --root"),
    ],
)
def test_wrong_command_is_one_line_and_status_2(flags: list[str], said: str) -> None:
    command = [sys.executable, "-m", "align.corpora", *flags]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stdout == ""
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line


def test_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    table(tmp_path, "a.wav,ann,train,cough,", *(f"gone-{number}.wav,bob,test,," for number in range(3000)))
    shell = f"'{sys.executable}' -m align.corpora table --root '{tmp_path}' | head -n 1"
    run = subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stdout == f"table in {tmp_path}\n"
    assert "Traceback" not in run.stderr
    assert "BrokenPipe" not in run.stderr


def test_table_without_a_needed_column_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(tmp_path / "recordings.csv", "path,split", "a.wav,train")
    assert look(tmp_path) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "recordings.csv: no column group" in line


def dangling(root: Path) -> None:
    write_text(root / "metadata_compiled.csv", "uuid,cough_detected,gender,status")
    (root / "public_dataset").symlink_to(root / "gone")


def looping(root: Path) -> None:
    (root / "audio").symlink_to(root / "audio")


def file_for_a_folder(root: Path) -> None:
    write_sound(root / "train" / "steth_20180814_09_37_11.wav")
    write_text(root / "test")


def folder_for_a_file(root: Path) -> None:
    write_sound(root / "training_data" / "2530_AV.wav")
    (root / "training_data" / "2530.txt").mkdir()


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("coughvid", dangling, "public_dataset cannot be read (No such file or directory)"),
        ("nosemic", looping, "audio cannot be read (Too many levels of symbolic links)"),
        ("hf-lung", file_for_a_folder, "test cannot be read (Not a directory)"),
        ("circor", folder_for_a_file, "2530.txt cannot be read (Is a directory)"),
        ("table", lambda root: (root / "recordings.csv").mkdir(), "recordings.csv cannot be read (Is a directory)"),
    ],
)
def test_what_the_file_system_refuses_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, damage: Callable[[Path], None], said: str
) -> None:
    damage(tmp_path)
    assert look(tmp_path, name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}: {tmp_path}/")
    assert line.endswith(said)


def test_path_too_long_for_the_file_system_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path, f"{'a' * 300}.wav,ann,train,cough,")
    assert look(tmp_path) == 2
    assert "problems: 1\n" in capsys.readouterr().out


def test_root_too_long_for_the_file_system_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look(tmp_path / ("a" * 300), "nosemic") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path}/aaa")


def test_table_of_another_name_is_read_when_named(tmp_path: Path) -> None:
    (good(tmp_path) / "recordings.csv").rename(tmp_path / "mine.csv")
    assert look(tmp_path / "mine.csv") == 0


@pytest.mark.corpus
def test_development_recordings_have_no_problem(corpus_table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert look(corpus_table) == 0
    assert "problems: 0" in capsys.readouterr().out
