"""A text to claims: what it says of each fact, be it true or not.

Splits a text into sentences (`align.reports.sentence` reads each) and carries over what one leaves to the next. It does
not know the metadata: `align.reports.check` compares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from align.reports.lexicon import Lexicon, Term
from align.reports.sentence import Claim, Sentence


@dataclass(frozen=True)
class Reading:
    """All that a text says."""

    claims: tuple[Claim, ...]
    foreign: tuple[str, ...]
    """Words that the vocabulary does not know."""
    sentences: int
    words: int


def read(text: str, lexicon: Lexicon, phase: str = "systolic") -> Reading:
    """What a text says, by the phrases of a lexicon.

    `phase` is that of a murmur of which the text names none; empty where such a murmur cannot be understood.
    """
    claims: list[Claim] = []
    foreign: list[str] = []
    heard_over: dict[str, str] = {}
    sentences, words = 0, 0
    for terms in _sentences(lexicon.terms(text)):
        sentence = Sentence(terms, phase)
        claims += sentence.claims()
        heard_over |= sentence.heard_over
        foreign += [term.words for term in terms if term.kind == "foreign"] + sentence.dangling()
        phase = sentence.last_phase
        sentences += 1
        words += sum(term.words.count(" ") + 1 for term in terms)
    if heard_over:
        claims.append(Claim("murmur_locations", "+".join(sorted(heard_over)), ", ".join(heard_over.values())))
    return Reading(tuple(claims), tuple(foreign), sentences, words)


def _sentences(terms: Iterable[Term]) -> Iterator[list[Term]]:
    sentence: list[Term] = []
    for term in terms:
        if term.kind == "end":
            if sentence:
                yield sentence
            sentence = []
        else:
            sentence.append(term)
    if sentence:
        yield sentence
