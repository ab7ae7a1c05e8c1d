"""The template writer: its reports hold the check, say everything, vary, and are the same everywhere."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.corpora import Recording, read_table
from align.reports import phrasings
from align.reports.check import check
from align.reports.errors import ReportError
from align.reports.facts import Brief, brief_all, hide
from align.reports.template import compose
from align.reports.vocabulary import BY_NAME

TABLE = Path("/corpus/recordings.csv")
YES_NO = ("1", "0", "unknown")
AREAS = ("AV", "MV", "PV", "TV", "Phc", "Al")
CELLS: dict[str, st.SearchStrategy[str]] = {
    "kind": st.sampled_from(["cough-heavy", "breathing-deep", "vowel-a", "counting-fast", "marvin"]),
    "age": st.sampled_from(
        ["Neonate", "Infant", "Child", "Adolescent", "Young Adult", "0", "1", "8", "11", "17", "18", "84"]
    ),
    "sex": st.sampled_from(["Female", "Male"]),
    "pregnant": st.sampled_from(YES_NO),
    "height_cm": st.floats(20, 250).map(str),
    "weight_kg": st.floats(0.3, 400).map(str),
    "device": st.sampled_from(["ThinklabsO", "Meditron", "a phone"]),
    "site": st.sampled_from(AREAS),
    "murmur": st.sampled_from(YES_NO),
    "murmur_here": st.sampled_from(YES_NO),
    "murmur_locations": st.sets(st.sampled_from(AREAS[:5]), min_size=1).map("+".join),
    "most_audible": st.sampled_from(AREAS[:5]),
    "crackles": st.sampled_from(YES_NO),
    "wheezes": st.sampled_from(YES_NO),
    "respiration_bpm": st.sampled_from(["8.0", "12.5"]),
    "covid19": st.sampled_from(YES_NO),
    "smoker": st.sampled_from(YES_NO),
    "diagnosis": st.sampled_from(["COPD", "Healthy", "Lung Fibrosis", "heart failure", "innocent murmur"]),
    "outcome": st.sampled_from(["Normal", "Abnormal"]),
}
for fact in BY_NAME.values():
    if fact.phase:
        CELLS[fact.name] = st.sampled_from(sorted(fact.stated_by))
METADATA = st.fixed_dictionaries({}, optional=CELLS)
EVENTS = st.sampled_from(
    ["", "heart", "cough", "non_cough", "breath", "speech", "sneezing", "crying_baby", "dog", "noise"]
)


def briefs(modality: str, event: str, metadata: dict[str, str], hidden: frozenset[str] = frozenset()) -> list[Brief]:
    row = Recording(TABLE.parent / "a.wav", "tiny", "ann", "train", modality, event, metadata=metadata)
    try:
        return brief_all([row], TABLE, hidden)
    except ReportError:
        return []


LABELS = st.sets(st.sampled_from(sorted(BY_NAME)), max_size=2)


@given(st.sampled_from(["heart", "lung", "airborne"]), EVENTS, METADATA, LABELS, st.integers(0, 99))
def test_every_report_holds_the_check(
    modality: str, event: str, metadata: dict[str, str], labels: set[str], seed: int
) -> None:
    for brief in briefs(modality, event, metadata, hide(labels)):
        text = compose(brief, seed)
        assert [str(problem) for problem in check(text, brief)] == [], text
        assert re.fullmatch(r"[A-Z].*\.", text)
        assert not re.search(r"\s{2}|,,|\s[.,]|[{}]|\ba [aeio]", text), text


CHILD = {
    "murmur": "Present",
    "murmur_here": "0",
    "murmur_locations": "MV+TV",
    "most_audible": "TV",
    "systolic_timing": "Holosystolic",
    "systolic_shape": "Plateau",
    "systolic_grading": "II/VI",
    "systolic_pitch": "Low",
    "systolic_quality": "Blowing",
    "outcome": "Abnormal",
    "site": "PV",
    "sex": "Female",
    "age": "Child",
    "height_cm": "98.0",
    "weight_kg": "15.9",
}


def test_report_is_a_function_of_seed_and_recording() -> None:
    """The texts themselves, so that no library, machine or order can change them unnoticed."""
    (brief,) = briefs("heart", "heart", CHILD)
    assert compose(brief, 0) == compose(brief, 0)
    assert compose(brief, 0) == (
        "This is a recording of cardiac sounds from a female child (98 cm, 15.9 kg), taken over the pulmonary area. A "
        "blowing, low-pitched, plateau-shaped holosystolic murmur of grade II/VI is heard over the mitral and "
        "tricuspid areas, loudest over the tricuspid area, but it is not audible at this site. The clinical outcome is "
        "abnormal."
    )


def test_phrasings_vary_from_seed_to_seed_and_child_to_child() -> None:
    (brief,) = briefs("heart", "heart", CHILD)
    assert len({compose(brief, seed) for seed in range(100)}) > 60


def test_every_phrasing_of_a_murmur_is_drawn() -> None:
    told = {name: briefs("heart", "", {"murmur": name})[0] for name in ("Absent", "Unknown")}
    for name, choices in (("Absent", phrasings.NO_MURMUR), ("Unknown", phrasings.MURMUR_UNKNOWN)):
        texts = " ".join(compose(told[name], seed) for seed in range(60))
        assert all(choice in texts for choice in choices)


@pytest.mark.corpus
@pytest.mark.parametrize("labels", [(), ("murmur",), ("outcome",), ("covid19", "smoker"), ("event",)])
def test_every_development_recording_is_reported_faithfully(corpus_table: Path, labels: tuple[str, ...]) -> None:
    told = brief_all(read_table(corpus_table), corpus_table, hide(labels))
    for brief in random.Random(0).sample(told, 1000):
        assert check(compose(brief, 0), brief) == []
