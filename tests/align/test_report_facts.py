"""Metadata to facts: how cells are read, what is worth saying, and what hiding a label hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from align.corpora import Recording
from align.reports.errors import ReportError
from align.reports.facts import Brief, brief_all, hide
from align.reports.vocabulary import BY_NAME, DETAILS, FACTS, IMPLIED

TABLE = Path("/corpus/recordings.csv")


def row(modality: str = "heart", event: str = "", **metadata: str) -> Recording:
    return Recording(TABLE.parent / "a" / "b.wav", "tiny", "ann", "train", modality, event, metadata=metadata)


def brief(recording: Recording, *hidden: str) -> Brief:
    return brief_all([recording], TABLE, hide(hidden))[0]


@pytest.mark.parametrize(
    ("column", "cell", "value"),
    [
        ("murmur", "Present", "yes"),
        ("murmur", "0.0", "no"),
        ("murmur", "Unknown", "unknown"),
        ("age", "41.0", "41"),
        ("age", "Young Adult", "young adult"),
        ("sex", "F", "female"),
        ("height_cm", "98.04", "98"),
        ("most_audible", "PV", "pulmonary"),
        ("site", "Al", "left anterior chest"),
        ("systolic_timing", "Early-systolic", "early systolic"),
        ("systolic_grading", "III/VI", "III/VI"),
        ("device", "LittC2SE", "littmann classic ii se stethoscope"),
        ("diagnosis", "COPD", "chronic obstructive pulmonary disease"),
        ("diagnosis", "Lung Fibrosis", "lung fibrosis"),
    ],
)
def test_cell_is_read(column: str, cell: str, value: str) -> None:
    assert brief(row(**{"outcome": "Normal", column: cell})).known[column] == value


@pytest.mark.parametrize("cell", ["nan", "N/A", "-", "None"])
def test_cell_that_says_nothing_is_unknown(cell: str) -> None:
    assert "sex" not in brief(row(sex=cell, murmur="Absent")).known


@pytest.mark.parametrize(
    ("column", "cell", "allowed"),
    [
        ("murmur", "maybe", "yes, no or unknown"),
        ("age", "old", "a number from 0 to 120 (years), or one of neonate, infant, child, adolescent, young adult"),
        ("height_cm", "1800", "a number from 20 to 250 (cm)"),
        ("weight_kg", "inf", "a number from 0.3 to 400 (kg)"),
        ("sex", "x", "one of male, female"),
        ("site", "elbow", "sites joined by +"),
        ("systolic_grading", "VII/VI", "one of I/VI"),
        ("diagnosis", "12", "a few words"),
    ],
)
def test_cell_that_cannot_be_read_is_named_in_one_line(column: str, cell: str, allowed: str) -> None:
    with pytest.raises(ReportError) as caught:
        brief(row(**{column: cell}))
    assert f"recordings.csv: {column} of b.wav is '{cell}'; write {allowed}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_murmur_that_nobody_could_tell_has_no_place() -> None:
    """Tables say of it, too, that it was not heard here: a number computed from the list of where it was heard."""
    known = brief(row(murmur="Unknown", murmur_here="0.0", site="MV")).known
    assert known == {"modality": "heart", "murmur": "unknown", "site": "mitral"}


def test_what_goes_without_saying_is_known_but_not_asked() -> None:
    boy = brief(row(sex="Male", age="Child", pregnant="False"))
    assert boy.known["pregnant"] == "no"
    assert "pregnant" not in boy.asked
    assert "pregnant" in brief(row(sex="Female", age="Adolescent", pregnant="False")).asked
    assert "pregnant" in brief(row(sex="Female", pregnant="True")).asked
    single = brief(row(murmur="Present", murmur_locations="TV", most_audible="TV"))
    assert "most_audible" not in single.asked


def test_recording_without_a_cough_says_so() -> None:
    assert brief(row("airborne", "non_cough")).known["event"] == "no cough"


def test_kind_tells_the_event() -> None:
    assert brief(row("airborne", "", kind="cough-heavy")).known["event"] == "cough"
    assert "kind" not in brief(row("airborne", "speech", kind="marvin")).known


def test_murmur_that_is_somewhere_is_there() -> None:
    assert brief(row(murmur_locations="MV")).known["murmur"] == "yes"
    assert "murmur" not in brief(row(murmur_here="0", sex="F")).known


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"kind": "cough-heavy", "event": "breath"}, "kind of b.wav is heavy cough, but event is breath"),
        ({"sex": "Male", "pregnant": "True"}, "pregnant of b.wav is yes, but sex is male"),
        ({"murmur": "Absent", "systolic_pitch": "Low"}, "systolic_pitch of b.wav is low, but murmur is no"),
    ],
)
def test_metadata_that_contradicts_itself_is_refused(cells: dict[str, str], told: str) -> None:
    with pytest.raises(ReportError, match=told):
        brief(row("airborne", **cells))


def test_hiding_a_murmur_hides_all_that_tells_of_it() -> None:
    cells = {"murmur": "Present", "murmur_here": "1", "murmur_locations": "MV", "systolic_pitch": "Low"}
    told = brief(row(**cells, outcome="Abnormal", sex="Female"), "murmur")
    assert told.known == {"modality": "heart", "sex": "female"}
    assert set(told.asked) == {"modality", "sex"}
    assert {"murmur", "outcome", "diagnosis", *DETAILS} <= told.hidden


def test_words_of_a_table_that_tell_a_hidden_label_are_hidden_too() -> None:
    cells = {"modality": "airborne", "event": "covid_cough", "device": "a cough microphone"}
    assert "event" in brief(row(**cells)).known
    assert brief(row(**cells, sex="F"), "covid19").known == {
        "modality": "airborne",
        "device": "a cough microphone",
        "sex": "female",
    }
    assert set(brief(row(**cells, sex="F"), "event").known) == {"modality", "sex"}


def test_modality_is_one_of_three() -> None:
    with pytest.raises(ReportError, match=r"modality of b.wav is 'gut'; write one of airborne, heart, lung"):
        brief(row("gut", sex="F"))


def test_every_implication_is_of_facts() -> None:
    assert set(IMPLIED) <= set(BY_NAME)
    assert {fact for implied in IMPLIED.values() for fact in implied} <= set(BY_NAME)
    assert len(BY_NAME) == len(FACTS)


@pytest.mark.parametrize(
    ("label", "hint"), [("murmer", "did you mean murmur?"), ("xyz", "the facts are modality, event")]
)
def test_label_that_is_no_fact_is_refused(label: str, hint: str) -> None:
    with pytest.raises(ReportError, match=f"--hide {label}: no report states that; ") as caught:
        hide([label])
    assert hint in str(caught.value)


def test_table_without_facts_is_refused() -> None:
    with pytest.raises(ReportError, match="no column holds a fact to report; add one of event, kind, age, sex"):
        brief(row())
    with pytest.raises(ReportError, match="no column holds a fact to report once age"):
        brief(row(age="Child"), "age")


def test_key_is_relative_and_digest_follows_what_is_known() -> None:
    child = brief(row(age="Child", murmur="Absent"))
    assert child.key == "a/b.wav"
    moved = replace(row(age="Child", murmur="Absent"), path=Path("/elsewhere/a/b.wav"))
    assert brief_all([moved], Path("/elsewhere/t.csv"))[0].digest == child.digest
    assert brief(row(age="Infant", murmur="Absent")).digest != child.digest
    assert brief(row(age="Child", murmur="Absent"), "sex").digest != child.digest
