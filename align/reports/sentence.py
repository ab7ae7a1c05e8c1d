"""One sentence: what its terms say together, be it true or not.

Handles negation ("no murmur", "wheezes are absent", "not pregnant"), statements that something is unknown, which phase
of the heart a property of a murmur belongs to, and whether an area is where the recording was made, where a murmur is
heard or where it is loudest. It is strict rather than clever: what can be read in two ways becomes a claim of
`UNCLEAR`, which no metadata bears out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from align.reports.lexicon import Term
from align.reports.values import NO, UNKNOWN, YES
from align.reports.vocabulary import BY_NAME

UNCLEAR = "unclear"
MENTIONED = "mentioned"
"""The value of a claim that only names its fact."""

STATING = ("subject", "value", "weak", "area", "phase")
BORDERS = ("comma", "and", "break")
CUES = ("no", "absent", "not", "unknown")


@dataclass(frozen=True)
class Claim:
    """A statement that `fact` has `value`, and the words that make it."""

    fact: str
    value: str
    words: str


class Sentence:
    """One sentence. Positions are indices of its terms."""

    def __init__(self, terms: list[Term], phase: str) -> None:
        self._terms = terms
        self._facts = {name for term in terms if term.kind == "subject" for name, _ in term.states}
        self._phases = self._phase_of_each(phase)
        self.last_phase = self._phases[-1] if terms else phase
        self.heard_over: dict[str, str] = {}
        """Areas where a murmur is heard, with the words that say so."""
        self._cues = {place: self._reach(place) for place, term in enumerate(terms) if term.kind in CUES}

    def claims(self) -> list[Claim]:
        """What the sentence says, but for `heard_over`."""
        found: list[Claim] = []
        for place, term in enumerate(self._terms):
            if term.kind == "subject":
                found += self._of_subject(place, term)
            elif term.kind == "value" or (term.kind == "weak" and self._facts & {name for name, _ in term.states}):
                found += self._of_value(place, term)
            elif term.kind == "weak":
                found.append(Claim("", UNCLEAR, term.words))
            elif term.kind == "area":
                found += self._of_area(place, term)
            elif term.kind == "phase":
                # What is systolic or diastolic is a murmur, even where it is called a sound.
                found.append(Claim("murmur", YES if self._polarity(place) == YES else UNCLEAR, self._around(place)))
        return found

    def dangling(self) -> list[str]:
        """Negations and the like of which cannot be told what they negate, and a "whether" that nobody answers."""
        lost = [
            place for place, reach in self._cues.items() if not any(self._kind(other) in STATING for other in reach)
        ]
        if not any(term.kind == "unknown" for term in self._terms):
            lost += [place for place, term in enumerate(self._terms) if term.kind == "whether"]
        return [self._around(place) for place in lost]

    # Where a cue reaches

    def _reach(self, place: int) -> set[int]:
        """The positions of which a cue speaks."""
        kind = self._terms[place].kind
        after = range(place + 1, self._clause(place).stop)
        if place and self._terms[place - 1].words == ":" and not any(self._kind(other) in STATING for other in after):
            # As in a form: "smoker: no".
            return set(self._back(place - 1))
        if kind == "no":
            return set(self._onward(place))
        if kind == "not":
            follows = next((term.kind for term in self._terms[place + 1 : place + 3] if term.kind != "predicate"), "")
            return self._both_ways(place) if follows == "perceived" else set(self._onward(place))
        adjective = self._kind(place + 1) in STATING
        if adjective:
            return {place + 1}
        if kind == "unknown":
            whether = [other for other, term in enumerate(self._terms) if term.kind == "whether"]
            if whether:
                return set(range(whether[0], place)) if whether[0] < place else set(range(place, len(self._terms)))
        return set(self._back(place))

    def _both_ways(self, place: int) -> set[int]:
        """Of `not heard`: what is not heard comes before it, where it is not heard comes after it."""
        after = {other for other in self._onward(place) if self._is_here(other) or self._kind(other) == "area"}
        return set(self._back(place)) | after

    def _onward(self, place: int) -> Iterator[int]:
        """What a negation negates after it: a list, but not the clause after the list; of `not`, no list either."""
        complete, stated = self._terms[place].kind == "not", False
        for other in range(place + 1, len(self._terms)):
            kind = self._terms[other].kind
            if kind == "break" or (complete and kind in ("comma", "and")) or kind in ("no", "not", "unknown"):
                return
            stated = stated or kind in ("predicate", "perceived")
            complete = complete or stated
            # "No murmur is heard in a boy" does not say that he is none.
            named_only = kind == "subject" and not BY_NAME[self._terms[other].states[0][0]].polar
            if not (stated and (kind == "value" or named_only)):
                yield other

    def _back(self, place: int) -> Iterator[int]:
        """What `... is absent` speaks of: the list before it, but not the clause before the list."""
        listed = found = False
        other = place - 1
        while other >= 0 and self._terms[other].kind in ("predicate", "perceived"):
            other -= 1
        while other >= 0:
            kind = self._terms[other].kind
            if kind in ("break", "predicate", "perceived", "no", "absent", "not", "unknown"):
                return
            if (kind == "comma" and not listed) or (self._terms[other].words == ":" and found):
                return
            found = found or kind in STATING
            listed = listed or kind == "and"
            yield other
            other -= 1

    def _polarity(self, place: int) -> str:
        """Yes, no, unknown, or unclear where two cues reach the same words."""
        kinds = [self._terms[cue].kind for cue, reach in self._cues.items() if place in reach]
        if not kinds:
            return YES
        if len(kinds) > 1:
            return UNCLEAR
        return UNKNOWN if kinds[0] == "unknown" else NO

    # What terms say

    def _of_subject(self, place: int, term: Term) -> Iterator[Claim]:
        polarity = self._polarity(place)
        words = self._around(place)
        if term.words == "nonsmoker":
            polarity = {YES: NO}.get(polarity, UNCLEAR)
        names = self._of_this_phase([name for name, _ in term.states], place)
        for name in names or [term.states[0][0]]:
            if name == "murmur_here":
                yield from self._of_here(place, words)
            elif name == "murmur" and any(self._is_here(other) for other in self._clause(place)):
                continue
            elif BY_NAME[name].polar:
                yield Claim(name, polarity, words)
            elif polarity == YES:
                yield Claim(name, MENTIONED, words)
            else:
                yield Claim(name, UNKNOWN if polarity == UNKNOWN and names else UNCLEAR, words)

    def _of_here(self, place: int, words: str) -> Iterator[Claim]:
        """Of `at this site`, which speaks of a murmur if something is heard there that is not of the lungs."""
        perceived = any(term.kind == "perceived" for term in self._terms)
        if not perceived or (self._facts & {"crackles", "wheezes"} and "murmur" not in self._facts):
            return
        polarity = self._polarity(place)
        yield Claim("murmur_here", polarity, words)
        if polarity == YES:
            yield Claim("murmur", YES, words)

    def _of_value(self, place: int, term: Term) -> Iterator[Claim]:
        polarity = self._polarity(place)
        words = term.words if polarity == YES else self._around(place)
        names = self._of_this_phase([name for name, _ in term.states], place)
        if not names:
            yield Claim(term.states[0][0], UNCLEAR, words)
        for name, value in term.states:
            if name == "event" and value == "cough" and polarity == NO:
                yield Claim(name, "no cough", words)
            elif name in names:
                yield Claim(name, value if polarity == YES else UNCLEAR, words)

    def _of_area(self, place: int, term: Term) -> Iterator[Claim]:
        area, polarity = term.states[0][0], self._polarity(place)
        role = self._role(place)
        if polarity != YES and role != "most_audible" and self._facts & {"murmur", "crackles", "wheezes"}:
            role, polarity = "site", polarity if polarity == UNCLEAR else YES
        if role == "murmur_locations" and polarity == YES:
            self.heard_over[area] = term.words
        else:
            yield Claim(role, area if polarity == YES else UNCLEAR, term.words)

    def _role(self, place: int) -> str:
        """What an area is: where the recording was made, where a murmur is heard, or where it is loudest."""
        for other in (*range(place - 1, -1, -1), *range(place + 1, len(self._terms))):
            term: Term = self._terms[other]
            if term.kind == "role":
                return term.states[0][0]
            names = {name for name, _ in term.states}
            if term.kind == "subject" and "murmur" in names:
                return "murmur_locations"
            if "modality" in names or names & {"crackles", "wheezes"}:
                return "site"
        return "murmur_locations" if any(term.kind == "perceived" for term in self._terms) else "site"

    # Neighbourhoods

    def _kind(self, place: int) -> str:
        return self._terms[place].kind if 0 <= place < len(self._terms) else ""

    def _is_here(self, place: int) -> bool:
        return self._kind(place) == "subject" and self._terms[place].states == (("murmur_here", ""),)

    def _clause(self, place: int) -> range:
        """The stretch around a position without a comma, an "and" or a "but"."""
        borders = [other for other, term in enumerate(self._terms) if term.kind in BORDERS]
        first = max((other for other in borders if other < place), default=-1)
        return range(first + 1, min((other for other in borders if other > place), default=len(self._terms)))

    def _around(self, place: int) -> str:
        return " ".join(term.words for term in self._terms[max(0, place - 3) : place + 4])

    def _of_this_phase(self, names: list[str], place: int) -> list[str]:
        """Of facts of which some belong to a phase of the heart, those that the sentence speaks of at a position."""
        if len({BY_NAME[name].phase for name in names}) == 1:
            return names
        return [name for name in names if BY_NAME[name].phase == self._phases[place]]

    def _phase_of_each(self, before: str) -> list[str]:
        """The phase that each position speaks of: that of its clause, else of a clause before it, else after it."""
        named: list[str | None] = [None] * len(self._terms)
        place = 0
        while place < len(self._terms):
            if self._kind(place) in BORDERS:
                place += 1
                continue
            clause = self._clause(place)
            phases = {phase for other in clause for phase in self._names_phase(other)}
            if phases:
                named[clause.start : clause.stop] = [phases.pop() if len(phases) == 1 else ""] * len(clause)
            place = clause.stop
        first = next((phase for phase in named if phase is not None), before)
        result = []
        for phase in named:
            first = phase if phase is not None else first
            result.append(first)
        return result

    def _names_phase(self, place: int) -> set[str]:
        term = self._terms[place]
        if term.kind == "phase":
            return {term.states[0][0]}
        phases = {BY_NAME[name].phase for name, _ in term.states if name in BY_NAME}
        return phases if len(phases) == 1 and term.kind == "value" and "" not in phases else set()
