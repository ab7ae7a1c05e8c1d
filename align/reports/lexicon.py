"""Text to terms: the longest known phrases of a text, in order, and the words that belong to none.

The world is closed. A word is part of a phrase of the vocabulary, a word of polarity, or one of the plain words that a
report is put together with; any other word is foreign, because nobody could tell whether what it says is true. What the
terms say together is `align.reports.sentence`'s matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from align.reports.vocabulary import AREA_PHRASES, EVENT_OF_KIND, FACTS

Kind = Literal[
    "subject", "value", "weak", "area", "role", "phase", "no", "absent", "not", "unknown", "whether",
    "perceived", "predicate", "break", "comma", "and", "end", "plain", "foreign",
]  # fmt: skip


@dataclass(frozen=True)
class Term:
    """A phrase and what it does in a sentence."""

    kind: Kind
    words: str
    states: tuple[tuple[str, str], ...] = ()
    """Of a subject: its facts. Of a value: fact and value pairs, of which a phrase can have several (a girl is female
    and young)."""


CUES: dict[Kind, str] = {
    # Negates what follows.
    "no": "no|without|neither|nor|free of|absence of|lacks|lack of|lacking|negative for|denies|non|never",
    # Negates what comes before, or stands right before it as an adjective.
    "absent": "absent|negative|inaudible",
    "not": "not|cannot",
    "unknown": "unknown|undetermined|uncertain|unclear|indeterminate|not known|not recorded|not documented|not stated"
    "|not available|not specified|not given|could not be determined|could not be assessed|cannot be determined"
    "|not determined|unspecified|unrecorded",
    "whether": "whether|if",
    "perceived": "heard|audible|present|detected|noted|found|observed|identified|appreciated|evident|perceived",
    "predicate": "is|are|was|were|be|been|has|have|had|remains|remain|shows|show|reveals|reveal|does|do|did|carries",
    "break": "but|with|while|whereas|although|though|however|who|which|that",
    "and": "and|or|as well as",
    "comma": ",|;|(|)",
    "end": ".|!|?",
}
ROLES = {
    "site": "recorded|recording|recordings|auscultated|auscultation|taken|obtained|placed|listening|listened|made"
    "|recording site|auscultation site|site",
    "most_audible": "loudest|most audible|best heard|heard best|most clearly heard|strongest|most prominent|maximal"
    "|loudest point|audible most|most intense",
}
PHASES = {"systolic": "systolic|systole", "diastolic": "diastolic|diastole"}
PLAIN = """
a an the this these those its it there their they them each both also only as at in on over of off from for to by into
during through where when than then so such most more one
patient patients subject person individual participant people speaker
measures measuring measured measures weighs weighing tall old
audio clip sample file digital using via sound sounds session examination exam auscultatory acoustic
area areas position location locations point points valve site sites
report finding findings feature features described describes describe characterised characterized character
documented documents reported reports recorded record records contains contain containing includes include including
holds hold demonstrates demonstrated exhibits exhibited displays consists consisting represents gives given
status timed timing time shape shaped graded grade grading pitch pitched quality labelled labeled called classified
class classification categorised as marked listed stated noted known
overall assessed assessment rated considered judged determined clinical result
approximately about phase
group category aged age presence yes kind type
"""
"""Words that put a report together and say nothing by themselves."""


def normalise(text: str) -> str:
    """Lower case, plain punctuation, hyphens as spaces, a space between a number and its unit."""
    lowered = unicodedata.normalize("NFKC", text).lower()
    lowered = re.sub("['`\u2018\u2019]s\\b", "", lowered)
    lowered = re.sub("\u2014| [-\u2013] ", ", ", lowered)
    lowered = re.sub("[-_\"'`*\u2010-\u2013\u2018-\u201d]", " ", lowered)
    lowered = lowered.replace("/min", " per minute")
    return re.sub(r"(\d)([a-z])", r"\1 \2", lowered)


TOKEN = re.compile(r"[^\W_]+(?:[./][^\W_]+)*|[^\s]")
NUMBER = re.compile(r"\d+(?:\.\d+)?")


def tokens_of(text: str) -> list[str]:
    """Words, numbers and punctuation marks, one by one."""
    return TOKEN.findall(normalise(text))


UNITS = {" ".join(tokens_of(unit)): fact.name for fact in FACTS for unit in fact.units}


class Lexicon:
    """Finds phrases. Building one costs some milliseconds; `extended` adds a few phrases to it at no cost."""

    def __init__(self, phrases: Mapping[str, Term], base: Lexicon | None = None) -> None:
        """Know `phrases`, normalised here, before those of `base`."""
        self._terms = {" ".join(tokens_of(phrase)): term for phrase, term in phrases.items()}
        self._longest: dict[str, int] = {}
        for phrase in self._terms:
            words = phrase.split(" ")
            self._longest[words[0]] = max(self._longest.get(words[0], 0), len(words))
        self._base = base

    def extended(self, phrases: Mapping[str, Term]) -> Lexicon:
        """This lexicon and some phrases more, which win."""
        return Lexicon(phrases, self) if phrases else self

    def longest(self, tokens: list[str], start: int) -> tuple[Term, int] | None:
        """The longest phrase at `start` and the number of its tokens."""
        found = None
        for count in range(min(self._longest.get(tokens[start], 0), len(tokens) - start), 0, -1):
            term = self._terms.get(" ".join(tokens[start : start + count]))
            if term:
                found = term, count
                break
        other = self._base.longest(tokens, start) if self._base else None
        return other if other and (not found or other[1] > found[1]) else found

    def terms(self, text: str) -> Iterator[Term]:
        """Every term of a text in order."""
        tokens = tokens_of(text)
        place = 0
        while place < len(tokens):
            found = self.longest(tokens, place)
            if found:
                yield found[0]
                place += found[1]
                continue
            if NUMBER.fullmatch(tokens[place]):
                number, count = _number(tokens, place)
                yield number
                place += count
                continue
            yield Term("foreign", tokens[place])
            place += 1


def _number(tokens: list[str], start: int) -> tuple[Term, int]:
    """The number at `start` with its unit, which says of what it is; foreign if nothing does."""
    value = f"{round(float(tokens[start]), 1):g}"
    for count in range(3, 0, -1):
        fact = UNITS.get(" ".join(tokens[start + 1 : start + 1 + count]))
        if fact:
            return Term("value", " ".join(tokens[start : start + 1 + count]), ((fact, value),)), count + 1
    before = [token for token in tokens[max(0, start - 3) : start] if token not in ("of", "is", "was", ":")]
    if before and before[-1] in ("age", "aged"):
        return Term("value", tokens[start], (("age", value),)), 1
    return Term("foreign", tokens[start]), 1


def build() -> Lexicon:
    """The lexicon of the vocabulary."""
    states: dict[str, set[tuple[str, str]]] = {}
    kinds: dict[str, Kind] = dict.fromkeys((*PLAIN.split(), ":"), "plain")

    def add(phrase: str, kind: Kind, *pairs: tuple[str, str]) -> None:
        if kinds.get(phrase) != kind:
            states[phrase] = set()
        kinds[phrase] = kind
        states[phrase] |= set(pairs)

    for cue, words in CUES.items():
        for phrase in words.split("|"):
            add(phrase, cue)
    for role, words in ROLES.items():
        for phrase in words.split("|"):
            add(phrase, "role", (role, ""))
    for phase, words in PHASES.items():
        for phrase in words.split("|"):
            add(phrase, "phase", (phase, ""))
    for fact in FACTS:
        for phrase in fact.subjects:
            if fact.name != "site":
                add(phrase, "subject", (fact.name, ""))
        for value, phrases in fact.weakly_by.items():
            for phrase in phrases:
                add(phrase, "weak", (fact.name, value))
    for fact in FACTS:
        for value, phrases in fact.stated_by.items():
            for phrase in phrases:
                add(phrase, "value", (fact.name, value))
                if fact.name == "kind":
                    add(phrase, "value", ("event", EVENT_OF_KIND[value]))
    for area, phrases in AREA_PHRASES.items():
        for phrase in phrases:
            add(phrase, "area", (area, ""))
    return Lexicon(
        {phrase: Term(kind, phrase, tuple(sorted(states.get(phrase, ())))) for phrase, kind in kinds.items()}
    )
