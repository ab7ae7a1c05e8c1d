"""Reading a corpus table, and every way in which one can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from align.corpora import CorpusError, hold_out, read_table
from align.corpora.registry import list_corpus

HEADER = "path,group,split,event,cough_times,licence,age\n"


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    (folder / "a.wav").touch()
    (folder / "b.wav").touch()
    table = folder / "recordings.csv"
    table.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
    return table


def test_row_is_read_whole(tmp_path: Path) -> None:
    (row,) = read_table(write(tmp_path, "a.wav,ann , train,cough,1.5-1.9;0.25-0.75,CC0, 41 "))
    assert row.path == tmp_path / "a.wav"
    assert (row.corpus, row.group, row.split, row.event, row.licence) == ("recordings", "ann", "train", "cough", "CC0")
    assert row.modality == "airborne"
    assert row.times_s == ((0.25, 0.75), (1.5, 1.9))
    assert row.metadata == {"age": "41"}


def test_unknown_value_is_absent_from_metadata(tmp_path: Path) -> None:
    (row,) = read_table(write(tmp_path, "a.wav,ann,train,cough,,,"))
    assert row.metadata == {}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a.wav,ann,training,cough,,,"], "line 2: split is 'training'; write train, validation or test"),
        (["a.wav,,train,cough,,,"], "line 2: path and group must not be empty"),
        (["gone.wav,ann,train,cough,,,"], "line 2: no file"),
        (["a.wav,ann,train,cough,0.5,,"], "line 2: cough_times has '0.5'; write onset-offset"),
        (["a.wav,ann,train,cough,0.9-0.5,,"], "does not end after it starts"),
        (["a.wav,ann,train,cough,0.5-inf,,"], "does not end after it starts"),
        (["a.wav,ann,train,,,,", "b.wav,ann,test,,,,"], "group ann is in train and in test"),
        (["a.wav,ann,train,,,,", "a.wav,bob,test,,,,"], "a.wav is listed twice"),
    ],
)
def test_wrong_row_is_refused_in_one_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(CorpusError) as caught:
        read_table(write(tmp_path, *lines))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_path_too_long_for_the_file_system_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as caught:
        read_table(write(tmp_path, f"{'a' * 300}.wav,ann,train,cough,,,"))
    assert "line 2: " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_table_saved_by_a_spreadsheet_is_read(tmp_path: Path) -> None:
    table = write(tmp_path, "a.wav,ann,train,cough,,,")
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert read_table(table)[0].path == tmp_path / "a.wav"


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"gone\.csv: no such file"):
        read_table(tmp_path / "gone.csv")


def test_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no column group"):
        read_table(write(tmp_path, "a.wav,train", header="path,split\n"))


def test_audio_instead_of_a_table_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "recordings.csv"
    table.write_bytes(b"RIFF\xff\xfe\x00\x00WAVE" * 100)
    with pytest.raises(CorpusError, match="not a readable CSV"):
        read_table(table)


def test_listing_leaves_the_splits_as_they_are_written(tmp_path: Path) -> None:
    rows = [f"{number}.wav,person-{number},train,,,," for number in range(40)]
    assert {row.split for row in list_corpus("table", write(tmp_path, *rows).parent).recordings} == {"train"}


def test_held_out_groups_stay_whole_and_do_not_depend_on_order(tmp_path: Path) -> None:
    people = [f"person-{number},train" for number in range(60) for _ in "ab"] + ["tester,test"]
    for place in range(len(people)):
        (tmp_path / f"{place}.wav").touch()
    rows = read_table(write(tmp_path, *(f"{place}.wav,{person},,,," for place, person in enumerate(people))))
    split = {row.group: row.split for row in hold_out(rows, 0.25, seed=0)}
    again = hold_out(list(reversed(rows)), 0.25, seed=0)
    assert all(split[row.group] == row.split for row in again)
    assert 5 <= sum(name == "validation" for name in split.values()) <= 25
    assert split["tester"] == "test"
    assert {row.group for row in hold_out(rows, 0.25, seed=1) if row.split == "validation"} != {
        group for group, name in split.items() if name == "validation"
    }


@pytest.mark.corpus
def test_development_recordings_hold_no_leak(corpus_table: Path) -> None:
    rows = hold_out(read_table(corpus_table), 0.12, seed=0)
    groups = {split: {row.group for row in rows if row.split == split} for split in ("train", "validation", "test")}
    assert all(groups.values())
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
