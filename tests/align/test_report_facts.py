"""Metadata to facts: how cells are read, what is worth saying, and what hiding a label hides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from align.corpora import Recording
from align.corpora.registry import list_corpus
from align.reports.check import check
from align.reports.errors import ReportError
from align.reports.facts import Brief, brief_all, hide, without_impossible
from align.reports.template import compose
from align.reports.vocabulary import BY_NAME, DETAILS, FACTS, IMPLIED
from tests.sounds import write_sound, write_text

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


def test_number_that_nobody_can_have_is_taken_as_unknown_where_that_is_asked_for() -> None:
    rows = [row(height_cm="1800", age="Child", murmur="Absent"), row(height_cm="98", age="250", murmur="Absent")]
    kept, told = without_impossible([*rows, rows[0]], TABLE)
    first, second, third = brief_all(kept, TABLE)
    assert (first.known["height_cm"], first.known["age"]) == ("unknown", "child")
    assert (second.known["height_cm"], second.known["age"]) == ("98", "unknown")
    assert "height_cm" not in first.asked
    assert third == first
    assert told == [
        "height_cm is not a number from 20 to 250 (cm): '1800' of b.wav (and 1 more)",
        "age is not a number from 0 to 120 (years): '250' of b.wav (and 0 more)",
    ]
    assert rows[0].metadata["height_cm"] == "1800"


def test_facts_that_contradict_each_other_are_taken_as_unknown_where_that_is_asked_for() -> None:
    boy = row(sex="male", pregnant="yes", age="Child")
    silent = row(murmur="Absent", murmur_locations="AV", most_audible="AV", age="Child")
    kept, told = without_impossible([boy, silent, row(sex="female", pregnant="yes")], TABLE)
    first, second, third = brief_all(kept, TABLE)
    assert (first.known["sex"], first.known["pregnant"], first.known["age"]) == ("unknown", "unknown", "child")
    assert second.known["murmur"] == "unknown"
    assert "murmur_locations" not in second.known
    assert third.known["pregnant"] == "yes"
    assert told[0] == "pregnant and sex contradict each other: pregnant yes and sex male of b.wav (and 0 more)"
    assert "murmur_locations aortic and murmur no of b.wav (and 0 more)" in told[1]
    assert len(told) == 2


def test_word_in_the_place_of_a_number_is_to_be_corrected() -> None:
    with pytest.raises(ReportError, match=r"age of b\.wav is 'old'"):
        without_impossible([row(age="old", murmur="Absent")], TABLE)


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


CIRCOR = """\
9979 2 4000
AV 9979_AV.hea 9979_AV.wav 9979_AV.tsv
TV 9979_TV.hea 9979_TV.wav 9979_TV.tsv
#Age: Child
#Sex: Female
#Height: 98.0
#Weight: 15.9
#Pregnancy status: True
#Murmur: Present
#Murmur locations: AV+PV
#Most audible location: PV
#Systolic murmur timing: Holosystolic
#Systolic murmur shape: Diamond
#Systolic murmur grading: III/VI
#Systolic murmur pitch: High
#Systolic murmur quality: Harsh
#Diastolic murmur timing: Early-diastolic
#Diastolic murmur shape: Decrescendo
#Diastolic murmur grading: I/IV
#Diastolic murmur pitch: Low
#Diastolic murmur quality: Blowing
#Outcome: Abnormal
#Campaign: CC2015
#Additional ID: nan
"""


def test_recordings_of_the_circor_adapter_tell_every_fact_of_the_child(tmp_path: Path) -> None:
    folder = tmp_path / "training_data"
    write_text(folder / "9979.txt", CIRCOR)
    for place in ("AV", "TV"):
        write_sound(folder / f"9979_{place}.wav")
    rows = list_corpus("circor", tmp_path).recordings
    aortic, tricuspid = brief_all(rows, tmp_path / "circor.csv")
    assert aortic.key == "training_data/9979_AV.wav"
    assert aortic.known == {
        "modality": "heart",
        "age": "child",
        "sex": "female",
        "pregnant": "yes",
        "height_cm": "98",
        "weight_kg": "15.9",
        "site": "aortic",
        "murmur": "yes",
        "murmur_here": "yes",
        "murmur_locations": "aortic+pulmonary",
        "most_audible": "pulmonary",
        "systolic_timing": "holosystolic",
        "systolic_shape": "diamond",
        "systolic_grading": "III/VI",
        "systolic_pitch": "high",
        "systolic_quality": "harsh",
        "diastolic_timing": "early diastolic",
        "diastolic_shape": "decrescendo",
        "diastolic_grading": "I/IV",
        "diastolic_pitch": "low",
        "diastolic_quality": "blowing",
        "outcome": "abnormal",
    }
    assert tricuspid.known == {**aortic.known, "site": "tricuspid", "murmur_here": "no"}
    hidden = brief_all(rows, tmp_path / "circor.csv", hide(["murmur"]))[0].known
    assert set(hidden) == {"modality", "age", "sex", "pregnant", "height_cm", "weight_kg", "site"}
    assert not check(compose(aortic, 0), aortic)


def test_label_counts_for_more_than_metadata_of_its_name() -> None:
    assert brief(replace(row(murmur="Absent", sex="F"), labels={"murmur": "present"})).known["murmur"] == "yes"


@pytest.mark.parametrize(
    ("status", "value"),
    [("positive_mild", "yes"), ("positive_asymp", "yes"), ("healthy", None), ("recovered_full", None)],
)
def test_status_of_coswara_is_negative_of_nobody(status: str, value: str | None) -> None:
    told = brief(replace(row("airborne", "cough"), labels={"covid_status": status}))
    assert told.known.get("covid19") == value


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
