"""`python -m align.retrieve`: the nearest reports, the sheet, recall of a test split, and how wrong input is told."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from align.aligned import CHECKPOINT, AlignedError, load_task, read_checkpoint
from align.nearest import Found, own_report, reports_table
from align.retrieve import main
from align.sheet import draw_sheet
from tests.aligning import Aligned, refused, run_main

QUERY = "person-0004_MV.flac"
"""Of somebody in the test split."""


def flags(place: Aligned, **changes: str | Path) -> list[str | Path]:
    given: dict[str, str | Path] = {
        "aligned": place.folder,
        "reports": place.reports,
        "teacher_cache": place.teacher_cache,
    }
    return [part for name, value in (given | changes).items() for part in (f"--{name}", value)]


def query(place: Aligned) -> Path:
    return place.recordings.parent / QUERY


def test_reports_are_listed_in_falling_order_with_their_cosines(
    aligned: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(main, monkeypatch, *flags(aligned, query=query(aligned), top="4")) == 0
    lines = capsys.readouterr().out.splitlines()
    found = [re.fullmatch(r" +(\d+)  ([ -]\d\.\d{3})  (.+)", line) for line in lines[1:5]]
    assert [match and match[1] for match in found] == ["1", "2", "3", "4"]
    scores = [float(match[2]) for match in found if match]
    assert scores == sorted(scores, reverse=True)
    assert -1 <= scores[-1] <= scores[0] <= 1
    texts = [match[3] for match in found if match]
    written = {" ".join(row["report"].split()) for row in parquet.read_table(aligned.reports).to_pylist()}
    assert len(set(texts)) == 4
    assert set(texts) <= written
    assert re.fullmatch(rf"its own report has rank \d+ of {len(written)}", lines[5])


def test_more_reports_asked_for_than_there_are_lists_all(
    aligned: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(main, monkeypatch, *flags(aligned, query=query(aligned), top="1000")) == 0
    different = {row["report"] for row in parquet.read_table(aligned.reports).to_pylist()}
    assert len(capsys.readouterr().out.splitlines()) == len(different) + 2


def test_own_report_has_the_place_that_the_list_gives_it() -> None:
    found = Found(("no murmur", "a murmur"), np.array([0.5, 0.25], np.float32), "a murmur")
    assert reports_table(found, 1).splitlines()[1:] == [
        "   1   0.500  no murmur",
        "its own report has rank 2 of 2",
    ]


def test_sheet_is_a_picture(aligned: Aligned, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    given = flags(aligned, query=query(aligned), recordings=aligned.recordings, sheet=sheet)
    assert run_main(main, monkeypatch, *given) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert matplotlib.image.imread(sheet).std() > 0.05


def test_sheet_grows_with_its_texts_and_takes_any_letters(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).standard_normal(400).astype(np.float32)
    for name, text in (("short", "No murmur."), ("long", "A $5 report_{with} \\odd letters. " * 20)):
        draw_sheet(tmp_path / name, sound, 4000, "a $ b", [("first", text), ("second", text)])
    short, long = (matplotlib.image.imread(tmp_path / name, format="png").shape[0] for name in ("short", "long"))
    assert long > short + 100


def test_sheet_of_the_shortest_sound_is_drawn(tmp_path: Path) -> None:
    draw_sheet(tmp_path / "one.png", np.zeros(1, np.float32), 4000, "one sample", [("first", "No murmur.")])
    assert (tmp_path / "one.png").stat().st_size > 0


def test_recall_of_the_test_split_stands_beside_chance(
    aligned: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(main, monkeypatch, *flags(aligned, recordings=aligned.recordings)) == 0
    first, _, *rows = capsys.readouterr().out.splitlines()
    tested = [row for row in parquet.read_table(aligned.reports).to_pylist() if row["split"] == "test"]
    different = len({row["report"] for row in tested})
    assert first == f"24 test recordings of 12 people, {different} different reports"
    assert [row[:12].rstrip() for row in rows] == ["recall at 1", "recall at 5", "recall at 10", "median rank"]
    figures = [[float(number) for number in re.findall(r"\d+\.\d+", row[12:])] for row in rows]
    assert all(low <= value <= high for value, low, high, _ in figures)
    assert figures[0][0] <= figures[1][0] <= figures[2][0] <= 1
    assert [row[3] for row in figures[:2]] == [round(cut / different, 3) for cut in (1, 5)]
    assert figures[3][3] == (different + 1) / 2


def test_own_report_is_known_by_path_and_by_a_name_that_only_one_has(tmp_path: Path) -> None:
    reports = {"a/1.wav": "first", "b/1.wav": "second", "b/2.wav": "third"}
    table = tmp_path / "recordings.csv"
    assert own_report(tmp_path / "b" / "1.wav", reports, table) == "second"
    assert own_report(Path("b/1.wav"), reports, None) == "second"
    assert own_report(Path("elsewhere/2.wav"), reports, None) == "third"
    assert own_report(Path("elsewhere/1.wav"), reports, None) is None
    assert own_report(Path("elsewhere/9.wav"), reports, table) is None


def test_weights_that_are_opened_are_those_that_were_kept(aligned: Aligned) -> None:
    from align.checkpointing import load_encoder

    task, encoder = load_task(aligned.folder), load_encoder(aligned.folder)
    assert not task.training
    kept = encoder.state_dict()
    assert kept
    for name, value in task.encoder.state_dict().items():
        torch.testing.assert_close(value, kept[name], rtol=0, atol=0)


def test_wrong_questions_are_each_told_in_one_line(
    aligned: Aligned, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    noise, empty, columns = tmp_path / "noise.wav", tmp_path / "empty.parquet", tmp_path / "columns.parquet"
    noise.write_bytes(b"no sound at all")
    parquet.write_table(pa.table({"path": pa.array([], pa.string()), "report": pa.array([], pa.string())}), empty)
    parquet.write_table(pa.table({"path": ["a.wav"]}), columns)
    good = query(aligned)
    cases: list[tuple[list[str | Path], str]] = [
        (flags(aligned, query=tmp_path / "none.wav"), "none.wav: cannot be decoded (no such file)"),
        (flags(aligned, query=noise), "noise.wav: cannot be decoded"),
        (flags(aligned, query=good, reports=empty), "empty.parquet: holds no reports"),
        (flags(aligned, query=good, reports=columns), "columns.parquet: no table with the columns path and report"),
        (flags(aligned, query=good, reports=tmp_path / "none.parquet"), "none.parquet: no such file"),
        (flags(aligned, query=good, aligned=tmp_path), "last.ckpt: no such file"),
        (flags(aligned, query=good, top="0"), "must be a whole number from 1 to 1000"),
        (flags(aligned), "nothing to ask"),
        (flags(aligned, recordings=aligned.recordings, sheet=tmp_path / "s.png"), "--sheet shows one recording"),
        (flags(aligned, query=good, sheet=tmp_path / "none" / "s.png"), "s.png: cannot be written"),
        (flags(aligned, recordings=tmp_path / "none.csv"), "none.csv: no such file"),
    ]
    for given, told in cases:
        assert run_main(main, monkeypatch, *given) == 2, told
        assert told in refused(capsys)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_checkpoint_of_something_else_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is None:
        others = {"hyper_parameters": {"shape": {}, "labels": ["cough"], "data": {}}, "state_dict": {}}
        torch.save(others, tmp_path / CHECKPOINT)
    else:
        (tmp_path / CHECKPOINT).write_bytes(content)
    with pytest.raises(AlignedError, match=r"last\.ckpt: (not a|no) checkpoint"):
        load_task(tmp_path)


def test_training_without_a_common_space_is_refused(aligned: Aligned, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(aligned.folder)
    checkpoint["hyper_parameters"]["objective"]["pointwise"] = 0.0
    torch.save(checkpoint, tmp_path / CHECKPOINT)
    with pytest.raises(AlignedError, match=r"objective cka and no pointwise term"):
        load_task(tmp_path)


def test_altered_checkpoint_is_refused(aligned: Aligned, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(aligned.folder)
    checkpoint["state_dict"].popitem()
    torch.save(checkpoint, tmp_path / CHECKPOINT)
    with pytest.raises(AlignedError, match=r"does not fit this version"):
        load_task(tmp_path)
    cut = tmp_path / "cut"
    cut.mkdir()
    shutil.copy(aligned.folder / CHECKPOINT, cut)
    with (cut / CHECKPOINT).open("r+b") as stream:
        stream.truncate(5000)
    with pytest.raises(AlignedError, match=r"no checkpoint, or a damaged one"):
        load_task(cut)
