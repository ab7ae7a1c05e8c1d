"""Read the cells of a corpus table into the canonical values of facts.

Each reader takes the text of a cell and returns the value, `None` where the cell says nothing, or `UNKNOWN` where it
says that nobody knows. It raises `ValueError`, with what is allowed, where the text is neither: a misspelt label must
not end as a report that is silent about it. Which column is read by which reader is `align.reports.vocabulary`'s table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

UNKNOWN = "unknown"
YES, NO = "yes", "no"

Reader = Callable[[str], str | None]


class OutOfRangeError(ValueError):
    """A number that nobody can have."""


MISSING = {"", "nan", "na", "n/a", "none", "null", "-", "not recorded", "not available"}
NOT_KNOWN = {"unknown", "undetermined", "not known", "unknown or void", "indeterminate"}
AFFIRMED = {"1", "1.0", "true", "yes", "y", "present", "positive"}
LONGEST = 80
"""Characters of a value of any words."""
DENIED = {"0", "0.0", "false", "no", "n", "absent", "negative"}

POSITIVE_STATUSES = {"positive asymp", "positive mild", "positive moderate"}
OTHER_STATUSES = {
    "healthy",
    "no resp illness exposed",
    "recovered full",
    "resp illness not identified",
    "under validation",
}
"""Coswara's words for people who were not found positive, of whom it does not say that a test was negative."""

AREAS = {
    "AV": "aortic",
    "PV": "pulmonary",
    "TV": "tricuspid",
    "MV": "mitral",
    "Phc": "other",
    "Tc": "trachea",
    "Al": "left anterior chest",
    "Ar": "right anterior chest",
    "Pl": "left posterior chest",
    "Pr": "right posterior chest",
    "Ll": "left lateral chest",
    "Lr": "right lateral chest",
}
"""Sites of auscultation by the abbreviations of CirCor and ICBHI."""
AREA_OF = {short.lower(): words for short, words in AREAS.items()} | {words: words for words in AREAS.values()}


def _unless_vague(read: Callable[[str], str]) -> Reader:
    """A reader of cells that say something; `read` gets none that is empty or says that nobody knows."""

    def reader(text: str) -> str | None:
        lowered = text.strip().lower()
        if lowered in MISSING:
            return None
        return UNKNOWN if lowered in NOT_KNOWN else read(text)

    return reader


def _spaced(text: str) -> str:
    return " ".join(text.lower().replace("-", " ").replace("_", " ").split())


@_unless_vague
def yes_or_no(text: str) -> str:
    """Read a truth: 1 and 0 as in tables of numbers, or words."""
    lowered = text.strip().lower()
    if lowered in AFFIRMED:
        return YES
    if lowered in DENIED:
        return NO
    raise ValueError("yes, no or unknown")


def covid_status(text: str) -> str | None:
    """Read a truth, or the status of a participant of Coswara."""
    status = _spaced(text)
    if status in OTHER_STATUSES:
        return None
    return YES if status in POSITIVE_STATUSES else yes_or_no(text)


def one_of(names: Mapping[str, str]) -> Reader:
    """A reader of a closed set: `names` maps lower-case spellings, without hyphens, to values."""

    def read(text: str) -> str:
        value = names.get(_spaced(text))
        if value is None:
            raise ValueError("one of " + ", ".join(dict.fromkeys(names.values())))
        return value

    return _unless_vague(read)


def listed(names: Mapping[str, str]) -> Reader:
    """A reader of words of which only those in `names` are facts; any other says nothing."""
    return lambda text: names.get(_spaced(text))


def number(low: float, high: float, unit: str) -> Reader:
    """A reader of a number from `low` to `high` in `unit`, told with at most one decimal.

    It raises `OutOfRangeError` for any other number.
    """

    def read(text: str) -> str:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        allowed = f"a number from {low:g} to {high:g} ({unit})"
        if math.isnan(value):
            raise ValueError(allowed)
        if not low <= value <= high:
            raise OutOfRangeError(allowed)
        return f"{round(value, 1):g}"

    return _unless_vague(read)


@_unless_vague
def areas_of(text: str) -> str:
    """Read sites joined by `+` into their words, sorted and joined again: `AV+MV` gives `aortic+mitral`."""
    parts = [part.strip().lower().removesuffix(" area").removesuffix(" valve") for part in text.split("+")]
    if not all(part in AREA_OF for part in parts):
        raise ValueError("sites joined by +: " + ", ".join(AREAS))
    return "+".join(sorted({AREA_OF[part] for part in parts}))


def area(text: str) -> str | None:
    """Read one site of auscultation: an abbreviation of `AREAS`, or its words."""
    if "+" in text:
        raise ValueError("one site: " + ", ".join(AREAS))
    return areas_of(text)


def free(names: Mapping[str, str]) -> Reader:
    """A reader of any words, lower-cased; `names` gives the full form of known abbreviations."""

    def read(text: str) -> str:
        lowered = " ".join(text.replace("_", " ").lower().split())
        if len(lowered) > LONGEST or not any(letter.isalpha() for letter in lowered):
            raise ValueError("a few words")
        return names.get(_spaced(text), lowered)

    return _unless_vague(read)
