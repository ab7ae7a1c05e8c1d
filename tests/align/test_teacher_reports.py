"""A report's vector: of its text, or the mean over its sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.teacher import TeacherError, TeacherSpec, embed, embed_reports
from align.teacher.reports import sentences
from tests.teachers import save_teacher

REPORTS = ["A systolic murmur is heard. No cough.", "No murmur.", "Crackles! Is there a wheeze? No. No cough."]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights."""
    folder = tmp_path_factory.mktemp("teacher")
    save_teacher(folder)
    return folder


def test_report_is_the_mean_of_its_sentences(tmp_path: Path, tiny: Path) -> None:
    spec = TeacherSpec(model=str(tiny))
    found = embed_reports(REPORTS, spec, tmp_path / "cache")
    by_hand = [
        ["A systolic murmur is heard.", "No cough."],
        ["No murmur."],
        ["Crackles!", "Is there a wheeze?", "No.", "No cough."],
    ]
    expected = [embed(parts, spec, tmp_path / "other").mean(axis=0) for parts in by_hand]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32


def test_report_read_as_a_whole_is_its_text_s_embedding(tmp_path: Path, tiny: Path) -> None:
    spec = TeacherSpec(model=str(tiny), unit="report")
    np.testing.assert_array_equal(embed_reports(REPORTS, spec, tmp_path), embed(REPORTS, spec, tmp_path))


def test_report_of_one_sentence_is_the_same_by_either_unit(tmp_path: Path, tiny: Path) -> None:
    one, other = (
        embed_reports(["No murmur."], TeacherSpec.model_validate({"model": str(tiny), "unit": unit}), tmp_path / unit)
        for unit in ("sentence", "report")
    )
    np.testing.assert_array_equal(one, other)


def test_equal_reports_have_equal_vectors_whatever_stands_beside_them(tmp_path: Path, tiny: Path) -> None:
    spec = TeacherSpec(model=str(tiny))
    found = embed_reports([REPORTS[2], REPORTS[0], REPORTS[2]], spec, tmp_path)
    np.testing.assert_array_equal(found[0], found[2])
    assert np.abs(found[0] - found[1]).max() > 1e-3


@pytest.mark.parametrize("unit", ["sentence", "report"])
def test_empty_report_is_refused_with_its_own_row(tmp_path: Path, tiny: Path, unit: str) -> None:
    spec = TeacherSpec.model_validate({"model": str(tiny), "unit": unit})
    with pytest.raises(TeacherError, match=r"^row 2: the report is empty"):
        embed_reports([*REPORTS[:2], " \n"], spec, tmp_path)


@pytest.mark.parametrize("unit", ["sentence", "report"])
def test_no_reports_are_refused(tmp_path: Path, tiny: Path, unit: str) -> None:
    with pytest.raises(TeacherError, match=r"^0 reports"):
        embed_reports([], TeacherSpec.model_validate({"model": str(tiny), "unit": unit}), tmp_path)


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        ("A murmur. No cough.", ["A murmur.", "No cough."]),
        ("  A murmur.\n\nNo cough. ", ["A murmur.", "No cough."]),
        ("A murmur of 2.5 s, i.e. long.", ["A murmur of 2.5 s, i.e. long."]),
        ("Grade III/VI. 3 sites.", ["Grade III/VI.", "3 sites."]),
        ("Really? Yes! So", ["Really?", "Yes!", "So"]),
        ("no full stop", ["no full stop"]),
        (".", ["."]),
    ],
)
def test_sentences_end_where_another_begins(report: str, expected: list[str]) -> None:
    assert sentences(report) == expected
