"""Is a report faithful? No fact that the metadata lacks, none contradicted, none of the asked ones dropped.

Works on the text alone, whoever wrote it: it is read into claims (`align.reports.claims`) and these are compared with
what is known. A false alarm costs one report by template; a false statement that passes would be taught to an encoder.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from align.reports.claims import read
from align.reports.facts import NO_COUGH, WORDED, Brief
from align.reports.lexicon import Lexicon, Term, build
from align.reports.sentence import MENTIONED, UNCLEAR, Claim
from align.reports.values import UNKNOWN
from align.reports.vocabulary import AGES, BY_NAME

MOST_WORDS_A_FACT, MORE_WORDS, MOST_SENTENCES = 15, 40, 5
"""A report may hold a sentence a fact, or five where there are fewer; no report needs as much."""
ADULT_YEARS = 18
MOST_TOLD = 10
"""Foreign words that are told of one text."""

Kind = Literal["empty", "long", "foreign", "unclear", "hidden", "invented", "contradicted", "dropped"]


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a report."""

    kind: Kind
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.detail}" if self.detail else self.kind


@functools.cache
def _lexicon() -> Lexicon:
    return build()


def check(text: str, brief: Brief) -> list[Problem]:
    """Everything that is wrong with a report of `brief`; nothing if it is faithful."""
    if not text.strip():
        return [Problem("empty", "")]
    reading = read(text, _lexicon().extended(_own_words(brief)), _only_phase(brief.known))
    foreign = list(dict.fromkeys(reading.foreign))
    problems = [Problem("foreign", ", ".join(foreign[:MOST_TOLD]))] if foreign else []
    facts = len(brief.asked)
    if reading.words > MORE_WORDS + MOST_WORDS_A_FACT * facts or reading.sentences > max(MOST_SENTENCES, facts + 1):
        problems.append(Problem("long", f"{reading.sentences} sentences, {reading.words} words"))
    problems += [problem for claim in reading.claims if (problem := _judge(claim, brief))]
    stated = {(claim.fact, claim.value) for claim in reading.claims}
    dropped = [name for name in brief.asked if (name, brief.known[name]) not in stated]
    problems += [Problem("dropped", f"{name} {brief.known[name]}") for name in dropped]
    return list(dict.fromkeys(problems))


def _judge(claim: Claim, brief: Brief) -> Problem | None:
    """What is wrong with one claim."""
    if claim.fact in brief.hidden:
        return Problem("hidden", f"{claim.fact} ({claim.words})")
    if claim.value == UNCLEAR:
        return Problem("unclear", claim.words)
    value = brief.known.get(claim.fact, UNKNOWN)
    if claim.value == MENTIONED or _true(claim, brief.known):
        return None
    kind: Kind = "invented" if value == UNKNOWN else "contradicted"
    return Problem(kind, f"{claim.fact} is {value}, not {claim.value} ({claim.words})")


def _true(claim: Claim, known: Mapping[str, str]) -> bool:
    value = known.get(claim.fact, UNKNOWN)
    if claim.value == value:
        return True
    if claim.fact == "age" and claim.value in ("minor", "adult") and value != UNKNOWN:
        return _is_adult(value) == (claim.value == "adult")
    return False


def _is_adult(age: str) -> bool:
    if age in AGES:
        return age in ("young adult", "adult")
    return float(age) >= ADULT_YEARS


def _only_phase(known: Mapping[str, str]) -> str:
    """The phase of a murmur of which a text names none: the one that is known, nothing where both are."""
    phases = {phase for name in known if (phase := BY_NAME[name].phase)}
    return "" if len(phases) > 1 else next(iter(phases), "systolic")


def _own_words(brief: Brief) -> dict[str, Term]:
    """The phrases of this report's own values that no vocabulary can foresee."""
    phrases: dict[str, Term] = {}
    for name in WORDED:
        value = brief.known.get(name)
        if value and value not in BY_NAME[name].stated_by and value != UNKNOWN and value != NO_COUGH:
            phrases[value] = Term("value", value, ((name, value),))
    return phrases


def tally(problems: Iterable[Problem]) -> str:
    """Problems as one line."""
    return "; ".join(str(problem) for problem in problems)
