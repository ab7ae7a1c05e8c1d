"""Recordings and their reports: every one has its own, and nobody is on both sides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from align.clips import Clips, open_clips
from align.config import PrepareSettings
from align.corpora import CorpusError, Recording
from align.pairs import pair, read_reports, text_ids
from align.preparation import prepare
from align.report import report
from align.reports.config import ReportSettings
from align.reports.errors import ReportError
from tests.align.conftest import write_table
from tests.recordings import recording
from tests.sounds import write_sound

SOURCE = Path("reports.parquet")


def of(share: float, seed: int = 0) -> dict[str, Any]:
    """Where the recordings are listed, and how people are held out."""
    return {"recordings": Path("recordings.csv"), "validation_share": share, "seed": seed}


def clips_named(rows: list[Recording]) -> Clips:
    return Clips(rows, [row.path.as_posix() for row in rows], [np.zeros(1, np.int16)] * len(rows), [])


def people(count: int) -> list[Recording]:
    """Two recordings of each."""
    return [recording(f"{number}-{side}.wav", f"person-{number}") for number in range(count) for side in "ab"]


def reports_of(rows: list[Recording]) -> dict[str, str]:
    return {row.path.as_posix(): f"Report of {row.path}." for row in rows}


@pytest.mark.parametrize("root", [".", "recordings.csv"])
def test_reports_of_the_program_are_found_for_prepared_recordings(tmp_path: Path, root: str) -> None:
    table = write_table(tmp_path, 40)
    for number in range(40):
        write_sound(tmp_path / f"{number}.wav")
    report(ReportSettings.model_validate({"recordings": table, "output": tmp_path / "reports.parquet"}))
    output = tmp_path / "out"
    given = {"corpus": "table", "root": tmp_path / root, "output": output, "sample_rate_hz": 4000}
    prepare(PrepareSettings.model_validate(given))
    found = read_reports(tmp_path / "reports.parquet")
    for source in (table, output):
        splits = pair(open_clips(source, 4000), found, SOURCE, **of(0.3))
        assert sum(len(pairs) for pairs in splits.values()) == 40
        for pairs in splits.values():
            assert list(pairs.reports) == [found[key] for key in pairs.clips.keys]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_prepared_recordings_are_reported_as_their_table_is(tmp_path: Path, elsewhere: bool) -> None:
    """Those of a named corpus are in no table: what was prepared is all that a report can be written from."""
    table = write_table(tmp_path / "corpus" if elsewhere else tmp_path, 6)
    for number in range(6):
        write_sound(table.parent / f"{number}.wav")
    if elsewhere:
        table.write_text(table.read_text().replace("0.wav", "../0.wav"))
        (table.parent / "0.wav").rename(tmp_path / "0.wav")
    output = tmp_path / "out"
    prepare(PrepareSettings.model_validate({"corpus": "table", "root": table, "output": output, "workers": 1}))
    reports = []
    for source in (table, output):
        file = tmp_path / f"{source.name}.parquet"
        report(ReportSettings.model_validate({"recordings": source, "output": file}))
        reports.append(read_reports(file))
    assert len(reports[0]) == 6
    assert reports[0] == reports[1]


def test_impossible_number_stops_a_table_and_is_unknown_in_what_was_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who reads a public corpus cannot correct its rows."""
    table = write_table(tmp_path, 6)
    table.write_text(table.read_text().replace("Male,Infant", "Male,300", 1))
    for number in range(6):
        write_sound(tmp_path / f"{number}.wav")
    output = tmp_path / "out"
    prepare(PrepareSettings.model_validate({"corpus": "table", "root": table, "output": output, "workers": 1}))
    settings = ReportSettings.model_validate({"recordings": table, "output": tmp_path / "reports.parquet"})
    with pytest.raises(ReportError, match=r"age of 1\.wav is '300'"):
        report(settings)
    report(settings.model_copy(update={"recordings": output}))
    assert "unknown: age is not a number from 0 to 120 (years): '300' of 1.wav" in capsys.readouterr().err
    assert "300" not in read_reports(tmp_path / "reports.parquet")["1.wav"]


def test_people_are_held_out_whole_where_nobody_is_validated_on() -> None:
    rows = [*people(60), recording("t.wav", "tess", "test")]
    splits = pair(clips_named(rows), reports_of(rows), SOURCE, **of(0.25))
    groups = {name: {row.group for row in pairs.clips.rows} for name, pairs in splits.items()}
    assert groups["test"] == {"tess"}
    assert not groups["train"] & groups["validation"]
    assert len(groups["train"]) + len(groups["validation"]) == 60
    assert 5 <= len(groups["validation"]) <= 25
    assert all(len(pairs) == 2 * len(groups[name]) for name, pairs in splits.items() if name != "test")


def test_hold_out_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    rows = people(60)
    drawn = [
        pair(clips_named(rows), reports_of(rows), SOURCE, **of(0.25, seed))["validation"].clips.keys
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_validation_split_that_is_there_is_kept() -> None:
    rows = [*people(20), recording("v.wav", "val", "validation")]
    splits = pair(clips_named(rows), reports_of(rows), SOURCE, **of(0.4))
    assert splits["validation"].clips.keys == ["v.wav"]
    assert splits["validation"].reports == ("Report of v.wav.",)
    assert len(splits["train"]) == 40


def test_recordings_without_a_report_are_refused_naming_the_first() -> None:
    rows = people(3)
    reports = reports_of(rows)
    del reports["1-a.wav"], reports["2-b.wav"]
    with pytest.raises(CorpusError, match=r"^reports\.parquet: has no report of 1-a\.wav \(2 of 6 recordings are with"):
        pair(clips_named(rows), reports, SOURCE, **of(0.1))


def test_person_in_two_splits_is_refused() -> None:
    rows = [*people(4), recording("x.wav", "person-2", "test")]
    with pytest.raises(CorpusError, match=r"^recordings\.csv: group person-2 is in train and in test"):
        pair(clips_named(rows), reports_of(rows), SOURCE, **of(0.1))


@pytest.mark.parametrize(
    ("rows", "needed"),
    [([recording("t.wav", "tess", "test")], "train"), ([recording("a.wav", "ann")], "validation")],
)
def test_split_without_people_is_refused(rows: list[Recording], needed: str) -> None:
    with pytest.raises(
        CorpusError, match=rf"^recordings\.csv: no recordings to use as {needed}; more people are needed"
    ):
        pair(clips_named(rows), reports_of(rows), SOURCE, **of(1e-9))


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"path": ["a"]}, "no table with the columns path and report"),
        ({"report": ["A murmur."]}, "no table with the columns path and report"),
        (
            {"path": ["a", "b", "c"], "report": ["A murmur.", " ", ""]},
            r"the report of b is empty or no text \(2 such\)",
        ),
        ({"path": ["a"], "report": pa.nulls(1, pa.string())}, r"the report of a is empty or no text \(1 such\)"),
        ({"path": ["a"], "report": [5]}, r"the report of a is empty or no text \(1 such\)"),
    ],
)
def test_reports_that_are_wrong_are_one_line(tmp_path: Path, columns: dict[str, object], told: str) -> None:
    path = tmp_path / "reports.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(CorpusError, match=f"^{path}: {told}") as caught:
        read_reports(path)
    assert "\n" not in str(caught.value)


def test_reports_that_are_missing_or_no_parquet_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "reports.parquet"
    with pytest.raises(CorpusError, match=r"no such file; write it with python -m align\.report"):
        read_reports(path)
    path.write_text("path,report\na,A murmur.\n")
    with pytest.raises(CorpusError, match="no table with the columns path and report") as caught:
        read_reports(path)
    assert "\n" not in str(caught.value)


def test_equal_reports_and_only_they_have_equal_numbers() -> None:
    ids = text_ids(("No murmur.", "A murmur.", "No murmur.", "no murmur.", "A murmur"))
    assert ids[0] == ids[2]
    assert len(set(ids.tolist())) == 4
    assert ids.dtype == np.int64
