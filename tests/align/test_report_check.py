"""The faithfulness check: what it lets pass, and the ways in which a text can say more, less or other than is known."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.corpora import Recording
from align.reports.check import check
from align.reports.facts import Brief, brief_all, hide

TABLE = Path("/corpus/recordings.csv")
DETAILS = {
    "murmur_here": "1.0",
    "murmur_locations": "AV+MV",
    "most_audible": "AV",
    "systolic_timing": "Holosystolic",
    "systolic_grading": "II/VI",
    "systolic_quality": "Harsh",
}


def brief(hidden: tuple[str, ...] = (), modality: str = "heart", event: str = "", **metadata: str) -> Brief:
    row = Recording(TABLE.parent / "a.wav", "tiny", "ann", "train", modality, event, metadata=metadata)
    return brief_all([row], TABLE, hide(hidden))[0]


PRESENT = brief(murmur="Present", site="MV", sex="Female", age="Child", **DETAILS)
ABSENT = brief(murmur="Absent", site="MV", sex="Male", age="12.0", outcome="Abnormal")
UNKNOWN = brief(murmur="Unknown", murmur_here="0.0", site="MV")
LUNGS = brief(modality="lung", site="Al", crackles="1", wheezes="0", diagnosis="COPD")
PERSON = brief(modality="airborne", event="cough", sex="male", age="54", smoker="False", covid19="1.0")
BOTH = brief(
    murmur="Present",
    systolic_timing="Early-systolic",
    systolic_quality="Harsh",
    diastolic_timing="Early-diastolic",
    diastolic_quality="Blowing",
)


def kinds(text: str, of: Brief) -> set[str]:
    return {problem.kind for problem in check(text, of)}


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (
            PRESENT,
            "Heart sounds were recorded over the mitral area in a female child. A harsh holosystolic murmur, grade "
            "2/6, is heard over the aortic and mitral valve areas. It is loudest over the aortic area and is audible "
            "at this site.",
        ),
        (
            PRESENT,
            "Recording of the heart, taken at the mitral area of a female child: there is a grade II/VI pansystolic "
            "murmur, harsh in quality, audible here. The murmur is present at the mitral and aortic areas, best heard "
            "over the aortic area.",
        ),
        (
            ABSENT,
            "Heart sounds of a 12-year-old boy were recorded over the mitral area. No murmur was heard, but the "
            "clinical outcome is abnormal.",
        ),
        (
            ABSENT,
            "Cardiac auscultation over the mitral area in a male aged 12 years shows that a murmur is absent. "
            "Overall outcome: abnormal.",
        ),
        (ABSENT, "No murmur is heard over the mitral area of the heart of a boy aged 12. The outcome is abnormal."),
        (UNKNOWN, "Heart sounds over the mitral area. It is not known whether a murmur is present."),
        (UNKNOWN, "Heart sounds over the mitral area; the murmur status is unknown. The age is not recorded."),
        (
            LUNGS,
            "Lung sounds over the left anterior chest: crackles are heard, but wheezes are absent. The diagnosis is "
            "chronic obstructive pulmonary disease.",
        ),
        (
            LUNGS,
            "Crackles without wheezes are present in the lungs over the left anterior chest. Diagnosis: chronic "
            "obstructive pulmonary disease.",
        ),
        (PERSON, "A 54-year-old man coughs. He does not smoke and is positive for COVID-19."),
        (PERSON, "Cough of a male person aged 54 years, a non-smoker. COVID-19: positive."),
        (BOTH, "A harsh early-systolic murmur of the heart is heard; there is also a blowing early-diastolic murmur."),
    ],
)
def test_faithful_text_passes(of: Brief, text: str) -> None:
    assert check(text, of) == []


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("Heart sounds of a 12-year-old boy over the mitral area. The outcome is abnormal.", "dropped"),
        ("No murmur.", "dropped"),
        (
            "Heart sounds of a 12-year-old girl over the mitral area. No murmur. The outcome is abnormal.",
            "contradicted",
        ),
        ("Heart sounds of a 13-year-old boy over the mitral area. No murmur. The outcome is abnormal.", "contradicted"),
        ("Heart sounds of a 12-year-old boy over the aortic area. No murmur. The outcome is abnormal.", "contradicted"),
        ("Heart sounds of a 12-year-old boy over the mitral area. A murmur. The outcome is abnormal.", "contradicted"),
        ("Heart sounds of a 12-year-old boy over the mitral area. No murmur. The outcome is normal.", "contradicted"),
        ("Heart sounds of a 12-year-old man over the mitral area. No murmur. The outcome is abnormal.", "contradicted"),
    ],
)
def test_dropped_and_contradicted_facts_are_found(text: str, kind: str) -> None:
    assert kind in kinds(text, ABSENT)


TRUE = "Heart sounds of a 12-year-old boy over the mitral area. No murmur is heard. The outcome is abnormal. "


@pytest.mark.parametrize(
    ("addition", "kind"),
    [
        ("Follow-up with echocardiography is recommended.", "foreign"),
        ("This is consistent with mitral regurgitation.", "foreign"),
        ("The cause may be anaemia.", "foreign"),
        ("There is a gallop.", "foreign"),
        ("The heart rate is 80 beats.", "foreign"),
        ("He weighs 40 kg.", "invented"),
        ("The height is 150 cm.", "invented"),
        ("No crackles are heard.", "invented"),
        ("He has asthma.", "foreign"),
        ("He is a smoker.", "invented"),
        ("The heart sounds are normal.", "contradicted"),
        ("The murmur is harsh.", "contradicted"),
        ("A soft murmur is heard.", "contradicted"),
        ("There is a systolic sound.", "contradicted"),
        ("Whether a murmur is heard.", "foreign"),
        ("Wheezes are heard.", "invented"),
        ("He is COVID-19 negative.", "invented"),
        ("A cough is heard.", "invented"),
        ("The respiratory rate is 20 breaths per minute.", "invented"),
    ],
)
def test_whatever_is_added_is_found(addition: str, kind: str) -> None:
    assert check(TRUE, ABSENT) == []
    assert kind in kinds(TRUE + addition, ABSENT)


@pytest.mark.parametrize(
    "text",
    [
        "Heart sounds over the mitral area. No murmur is heard.",
        "Heart sounds over the mitral area. A murmur is present.",
        "Heart sounds over the mitral area. A murmur is present, its grade is unknown.",
        "Heart sounds over the mitral area. A murmur of unknown grade is present.",
        "Heart sounds over the mitral area. A murmur is not present, its timing is not known.",
        "Heart sounds over the mitral area. It is unknown whether there is a murmur. It is not audible at this site.",
    ],
)
def test_unknown_stays_unknown(text: str) -> None:
    assert {"invented", "contradicted"} & kinds(text, UNKNOWN)


@pytest.mark.parametrize(
    "text",
    [
        f"Lung sounds over the left anterior chest. {said} Diagnosis: chronic obstructive pulmonary disease."
        for said in (
            "No crackles are heard, wheezes are present.",
            "No crackles or wheezes.",
            "Crackles and wheezes are heard.",
            "There are crackles, wheezes are not absent.",
            "No crackles are heard and wheezes are absent.",
            "Wheezes without crackles.",
        )
    ],
)
def test_negation_reaches_what_it_negates_and_no_more(text: str) -> None:
    assert {"contradicted", "unclear"} & kinds(text, LUNGS)


@pytest.mark.parametrize(
    "text",
    [
        "A harsh early-systolic murmur of the heart is heard; there is also a harsh early-diastolic murmur.",
        "A blowing early-systolic murmur of the heart is heard; there is also a harsh early-diastolic murmur.",
        "An early-systolic and an early-diastolic murmur of the heart are heard. They are harsh and blowing.",
    ],
)
def test_properties_belong_to_their_phase(text: str) -> None:
    assert {"contradicted", "unclear", "dropped"} & kinds(text, BOTH)


def test_areas_belong_to_what_is_said_of_them() -> None:
    swapped = (
        "Heart sounds were recorded over the aortic area in a female child. A harsh holosystolic murmur, grade II/VI, "
        "is heard over the aortic and mitral areas, loudest over the mitral area, and is audible at this site."
    )
    problems = check(swapped, PRESENT)
    assert {problem.detail.partition(" ")[0] for problem in problems if problem.kind == "contradicted"} == {
        "site",
        "most_audible",
    }


@pytest.mark.parametrize(
    "said", ["No murmur is heard.", "A murmur is present.", "The murmur status is unknown.", "A systolic sound."]
)
def test_hidden_label_is_not_mentioned_at_all(said: str) -> None:
    hidden = brief(("murmur",), murmur="Absent", site="MV")
    assert check("Heart sounds over the mitral area.", hidden) == []
    assert "hidden" in kinds(f"Heart sounds over the mitral area. {said}", hidden)


def test_rambling_is_refused() -> None:
    assert "long" in kinds(TRUE * 3, ABSENT)


@given(st.text(max_size=300))
def test_any_text_is_judged_and_random_text_never_passes(text: str) -> None:
    assert check(text, PRESENT)


VOCABULARY = """
no not a murmur murmurs is are heard absent present unknown whether harsh blowing , . ; : and or with without but
at this site the mitral aortic area loudest recorded systolic diastolic grade ii/vi 2/6 holosystolic female child he
"""


@given(st.lists(st.sampled_from(VOCABULARY.split()), max_size=40))
def test_any_order_of_the_vocabulary_is_judged(words: list[str]) -> None:
    assert isinstance(check(" ".join(words), PRESENT), list)
