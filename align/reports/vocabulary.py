"""The facts that a report can state: a frozen table of columns, readers, and the phrases that state each value.

A fact that is not here is never stated, and a writer that states one is refused. A new fact is a new row here, a
phrasing in `align.reports.template`, and a test. How phrases become statements is `align.reports.claims`' matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from align.reports import values
from align.reports.values import Reader

Phrases = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Fact:
    """One thing that metadata can say of a recording."""

    name: str
    columns: tuple[str, ...]
    """Columns of a corpus table, or an adapter's names, that hold it; the first that says something counts."""
    read: Reader
    subjects: tuple[str, ...] = ()
    """Phrases that name the fact. For a `polar` fact, naming it states it, unless negated."""
    stated_by: Phrases = field(default_factory=dict)
    """Value to the phrases that state it."""
    weakly_by: Phrases = field(default_factory=dict)
    """The same for words too common to count unless a subject of the fact is in the sentence."""
    units: tuple[str, ...] = ()
    """What follows a number that states the fact."""
    polar: bool = False
    """Whether it is present, absent or unknown, rather than one of several values."""
    shown: tuple[str, str] = ("present", "absent")
    """How the prompt says yes and no of a polar fact."""
    phase: str = ""
    """`systolic` or `diastolic` where a property of a murmur belongs to that phase."""


SHAPES: Phrases = {
    "plateau": ("plateau", "plateau shaped"),
    "decrescendo": ("decrescendo",),
    "diamond": ("diamond", "diamond shaped", "crescendo decrescendo"),
    "crescendo": ("crescendo",),
}
QUALITIES: Phrases = {"harsh": ("harsh",), "blowing": ("blowing",), "musical": ("musical",)}
PITCHES: Phrases = {
    level: (f"{level} pitched", f"{level} pitch", f"{level} in pitch", f"pitch {level}", f"pitch is {level}")
    for level in ("low", "medium", "high")
}
NUMERALS = {"I": "1", "II": "2", "III": "3", "IV": "4", "V": "5", "VI": "6"}
TIMINGS: Mapping[str, tuple[str, ...]] = {
    "systolic": ("early systolic", "mid systolic", "late systolic", "holosystolic"),
    "diastolic": ("early diastolic", "mid diastolic", "late diastolic", "holodiastolic"),
}


def _same(*words: str) -> Phrases:
    return {word: (word,) for word in words}


def _spellings(phrases: Phrases) -> dict[str, str]:
    return {phrase: value for value, several in phrases.items() for phrase in (value, *several)}


def _grades(scale: str) -> Phrases:
    """`II/VI` is also written `2/6`, `grade II` or `grade 2`."""
    top = NUMERALS[scale]
    return {
        f"{roman}/{scale}": (f"{roman}/{scale}".lower(), f"{digit}/{top}", f"grade {roman}".lower(), f"grade {digit}")
        for roman, digit in NUMERALS.items()
        if int(digit) <= int(top)
    }


def _murmur(phase: str, scale: str) -> tuple[Fact, ...]:
    """The five properties of a murmur of one phase; CirCor's own names have a "murmur" within."""
    alternatives = {"holosystolic": ("holosystolic", "pansystolic"), "holodiastolic": ("holodiastolic", "pandiastolic")}
    timings = {name: alternatives.get(name, (name,)) for name in TIMINGS[phase]}
    properties: tuple[tuple[str, Phrases, tuple[str, ...]], ...] = (
        ("timing", timings, ("timing",)),
        ("shape", SHAPES, ("shape",)),
        ("grading", _grades(scale), ("grade", "grading", "intensity")),
        ("pitch", PITCHES, ("pitch",)),
        ("quality", QUALITIES, ("quality",)),
    )
    facts = []
    for name, phrases, subjects in properties:
        spelt = {spelling.lower(): value for spelling, value in _spellings(phrases).items()}
        weak = _same("low", "medium", "high") if name == "pitch" else {}
        column = f"{phase}_{name}"
        facts.append(
            Fact(column, (column, f"{phase}_murmur_{name}"), values.one_of(spelt), subjects, phrases, weak, phase=phase)
        )
    return tuple(facts)


AGES: Phrases = {
    "neonate": ("neonate", "newborn", "neonatal"),
    "infant": ("infant",),
    "child": ("child",),
    "adolescent": ("adolescent", "teenager"),
    "young adult": ("young adult",),
    "minor": ("boy", "girl", "pediatric", "paediatric"),
    "adult": ("man", "woman", "adult"),
}
"""Words for ages. The last two groups of words say less than a value does; `align.reports.check` knows how much."""
SEXES: Phrases = {
    "female": ("female", "girl", "woman", "she", "her", "hers"),
    "male": ("male", "boy", "man", "he", "him", "his"),
}
EVENTS: Phrases = {
    "cough": ("cough", "coughs", "coughing", "coughed"),
    "breath": ("breath", "breaths", "breathing", "breath sounds", "breath sound"),
    "speech": ("speech", "speaking", "talking", "voice", "counting"),
    "vowel": ("vowel",),
    "sneezing": ("sneeze", "sneezes", "sneezing"),
    "snoring": ("snore", "snores", "snoring"),
    "laughing": ("laugh", "laughs", "laughing", "laughter"),
    "throat clearing": ("throat clearing",),
    "noise": ("noise",),
}
KINDS = {
    "breathing deep": "deep breathing",
    "breathing shallow": "shallow breathing",
    "cough heavy": "heavy cough",
    "cough shallow": "shallow cough",
    "vowel a": "vowel a",
    "vowel e": "vowel e",
    "vowel o": "vowel o",
    "counting normal": "counting at a normal pace",
    "counting fast": "counting at a fast pace",
}
KIND_PHRASES: Phrases = {
    "deep breathing": ("deep breathing", "deep breaths", "deep breath"),
    "shallow breathing": ("shallow breathing", "shallow breaths", "shallow breath"),
    "heavy cough": ("heavy cough", "heavy coughs", "heavy coughing"),
    "shallow cough": ("shallow cough", "shallow coughs", "shallow coughing"),
    **{f"vowel {letter}": (f"vowel {letter}", f"{letter} vowel") for letter in "aeo"},
    "counting at a normal pace": ("counting at a normal pace", "counting at normal pace"),
    "counting at a fast pace": ("counting at a fast pace", "counting at fast pace"),
}
EVENT_OF_KIND = {
    kind: event
    for event, word in {"breath": "breathing", "cough": "cough", "vowel": "vowel", "speech": "counting"}.items()
    for kind in KIND_PHRASES
    if word in kind
}
DEVICES = {
    "thinklabso": "thinklabs one stethoscope",
    "akgc417l": "akg c417l microphone",
    "littc2se": "littmann classic ii se stethoscope",
    "litt3200": "littmann 3200 stethoscope",
    "meditron": "meditron stethoscope",
}
DIAGNOSES = {
    "copd": "chronic obstructive pulmonary disease",
    "urti": "upper respiratory tract infection",
    "lrti": "lower respiratory tract infection",
    "asd": "atrial septal defect",
    "vsd": "ventricular septal defect",
    "pda": "patent ductus arteriosus",
    "pfo": "patent foramen ovale",
    "bron": "bronchiectasis",
    "n": "healthy",
    "normal": "healthy",
}
AREA_PHRASES: Phrases = {
    "aortic": ("aortic", "aortic area", "aortic valve area", "aortic valve", "av"),
    "pulmonary": ("pulmonary", "pulmonary area", "pulmonary valve area", "pulmonary valve", "pulmonic area", "pv"),
    "tricuspid": ("tricuspid", "tricuspid area", "tricuspid valve area", "tricuspid valve", "tv"),
    "mitral": ("mitral", "mitral area", "mitral valve area", "mitral valve", "mv"),
    "other": ("other", "other area", "another area", "phc"),
    **{words: (words,) for words in values.AREAS.values() if "chest" in words or words == "trachea"},
}

FACTS: tuple[Fact, ...] = (
    Fact(
        "modality",
        (),
        values.one_of({name: name for name in ("airborne", "heart", "lung")}),
        (),
        {
            "heart": ("heart", "heart sound", "heart sounds", "cardiac"),
            "lung": ("lung", "lungs", "lung sound", "lung sounds", "chest"),
            "airborne": ("airborne",),
        },
    ),
    Fact("event", (), values.free(_spellings(EVENTS)), (), EVENTS),
    Fact("kind", ("kind",), values.listed(KINDS), (), KIND_PHRASES),
    Fact("age", ("age",), values.number(0, 120, "years"), ("age", "aged"), AGES, units=("years", "year")),
    Fact(
        "sex",
        ("sex", "gender"),
        values.one_of({"male": "male", "m": "male", "female": "female", "f": "female"}),
        ("sex", "gender"),
        SEXES,
    ),
    Fact(
        "pregnant",
        ("pregnant", "pregnancy", "pregnancy_status"),
        values.yes_or_no,
        ("pregnant", "pregnancy"),
        polar=True,
        shown=("yes", "no"),
    ),
    Fact("height_cm", ("height_cm", "height"), values.number(20, 250, "cm"), ("height",), units=("cm", "centimetres")),
    Fact("weight_kg", ("weight_kg", "weight"), values.number(0.3, 400, "kg"), ("weight",), units=("kg", "kilograms")),
    Fact("device", ("device",), values.free(DEVICES), ("device", "recording device")),
    Fact("site", ("site",), values.area, ("recording site", "auscultation site")),
    Fact("murmur", ("murmur",), values.yes_or_no, ("murmur", "murmurs", "heart murmur"), polar=True),
    Fact(
        "murmur_here",
        ("murmur_here",),
        values.yes_or_no,
        ("here", "at this site", "at this area", "at this location", "over this area", "at the recording site"),
        polar=True,
        shown=("audible at this site", "not audible at this site"),
    ),
    Fact("murmur_locations", ("murmur_locations",), values.areas_of, ("murmur locations",)),
    Fact("most_audible", ("most_audible", "most_audible_location"), values.area),
    *_murmur("systolic", "VI"),
    *_murmur("diastolic", "IV"),
    Fact("crackles", ("crackles",), values.yes_or_no, ("crackle", "crackles", "crackling"), polar=True),
    Fact("wheezes", ("wheezes",), values.yes_or_no, ("wheeze", "wheezes", "wheezing"), polar=True),
    Fact(
        "respiration_bpm",
        ("respiration_bpm",),
        values.number(1, 120, "breaths per minute"),
        ("respiration rate", "respiratory rate", "breathing rate", "rate of breathing", "rate of respiration"),
        units=("breaths per minute", "breath per minute", "breaths a minute", "per minute", "bpm"),
    ),
    Fact(
        "covid19",
        ("covid19", "covid", "covid_status", "covid_test_result"),
        values.covid_status,
        ("covid 19", "covid19", "covid", "sars cov 2"),
        weakly_by={"yes": ("positive",)},
        polar=True,
        shown=("positive", "negative"),
    ),
    Fact(
        "smoker",
        ("smoker",),
        values.yes_or_no,
        ("smoker", "smokes", "smoke", "smoking", "smoking status", "nonsmoker"),
        polar=True,
        shown=("yes", "no"),
    ),
    Fact("diagnosis", ("diagnosis",), values.free(DIAGNOSES), ("diagnosis",)),
    Fact(
        "outcome",
        ("outcome",),
        values.one_of({"normal": "normal", "abnormal": "abnormal"}),
        ("outcome", "clinical outcome"),
        _same("normal", "abnormal"),
    ),
)
BY_NAME: Mapping[str, Fact] = MappingProxyType({fact.name: fact for fact in FACTS})

DETAILS = ("murmur_here", "murmur_locations", "most_audible", *(fact.name for fact in FACTS if fact.phase))
"""Facts about a murmur, which only a murmur has."""

IMPLIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        # A murmur that is somewhere, at some time, of some grade is there. The outcome is no proof of one, but tells
        # much: of CirCor's children 31 % have one where it is abnormal, 5 % where it is normal.
        "murmur": (*DETAILS, "outcome", "diagnosis"),
        "murmur_here": ("murmur_locations", "most_audible"),
        "murmur_locations": ("murmur_here", "most_audible"),
        # A diagnosis says that something is wrong. A murmur does not: it is a finding of its own, present in 5 % of the
        # children whose outcome is normal. But 84 % of those who have one are abnormal: hide both to be strict.
        "outcome": ("diagnosis",),
        "diagnosis": ("outcome", "covid19"),
        "covid19": ("diagnosis",),
        # Only women are pregnant, and children grow.
        "sex": ("pregnant",),
        "age": ("height_cm", "weight_kg", "pregnant"),
        # A heavy cough is a cough; whose breaths were counted breathed.
        "event": ("kind", "respiration_bpm"),
        "kind": ("event",),
        # What is heard, where and with what, tells a heart from a lung.
        "modality": ("event", "kind", "device", "site", "respiration_bpm", "crackles", "wheezes", "murmur", *DETAILS),
    }
)
"""Label to the other facts that tell it, or nearly; they are hidden with it. Nothing else tells a label not in here."""
