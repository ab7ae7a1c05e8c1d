"""Tables, spreadsheets and names as downloads have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from align.corpora import CorpusError
from align.corpora.reading import audio_files, find, read_rows, read_sheet, to_marks, to_number, to_spans, to_text
from tests.sounds import write_sound, write_text, write_xls


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_table_of_any_separator_header_case_and_stray_space_is_read(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "v1.0" / "table.csv"
    write_text(
        path, separator.join(["ID", " Status ", "note"]), separator.join(["7 ", "COPD", "a"]), "", f"8{separator}x"
    )
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_rows(path, "id", "STATUS") == [
        {"id": "7", "status": "COPD", "note": "a"},
        {"id": "8", "status": "x", "note": ""},
    ]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01" * 50])
def test_file_that_is_no_table_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=r"table\.csv: (no column id|not a readable table)"):
        read_rows(tmp_path / "table.csv", "id")


def test_sheet_whose_first_cells_are_empty_keeps_its_places(tmp_path: Path) -> None:
    rows = read_sheet(write_xls(tmp_path / "a.xls", {(22, 1): "3.45*", (23, 1): 4.0}))
    assert (rows[22][1], rows[23][1]) == ("3.45*", "4")


def test_folder_is_found_in_any_case_and_hidden_files_are_not_sounds(tmp_path: Path) -> None:
    write_sound(tmp_path / "AUDIO Files " / "b.WAV")
    write_sound(tmp_path / "AUDIO Files " / "._b.wav")
    write_text(tmp_path / "AUDIO Files " / "b.txt")
    folder = find(tmp_path, "any", "missing", "Audio Files")
    assert [path.name for path in audio_files(folder)] == ["b.WAV"]


@pytest.mark.parametrize(("text", "number"), [("3.45*", 3.45), ("0,72", 0.72), (" 7 ", 7), ("nan", None), ("?", None)])
def test_number_as_instruments_write_it(text: str, number: float | None) -> None:
    assert to_number(text) == number


def test_mark_that_ends_before_it_starts_is_a_problem_and_no_mark(tmp_path: Path) -> None:
    marks, problems = to_marks(tmp_path / "a.json", [("900", "100", "x"), ("100", "900", "y")], unit_s=1e-3)
    assert to_spans(marks) == ((0.1, 0.9),)
    assert to_text(marks) == "0.1-0.9:y"
    assert "a.json: the mark 900-100 does not end after it starts" in problems[0]
