"""The prompt: what a language model is told so that it writes what is known and nothing else.

Does not talk to a model (`align.reports.server`, `align.reports.local` do).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from align.reports.check import Problem
from align.reports.facts import Brief
from align.reports.values import NO, UNKNOWN, YES
from align.reports.vocabulary import BY_NAME

Messages = list[dict[str, str]]

SYSTEM = """\
You write short clinical reports of audio recordings of the heart, the lungs, coughs and breath.
Write two or three plain sentences of running text: no headings, no lists, no quotation marks.
State every given fact once, with the words and numbers given.
State nothing else: no cause, no advice, no follow-up, no interpretation, no diagnosis that is not given, \
no finding that is not given, not even that something else is absent or normal.
A fact that is given as unknown stays unknown: say that it is unknown.
Do not abbreviate, do not convert units, do not round."""
ASK = "Write the report of a recording of which this is known:\n{facts}"
AGAIN = "That report was refused:\n{problems}\nWrite it again, with the given facts only."
LABELS = {
    "event": "sound",
    "kind": "kind of sound",
    "height_cm": "height",
    "weight_kg": "weight",
    "site": "recorded over",
    "murmur_here": "at the site of this recording, the murmur is",
    "murmur_locations": "murmur heard over",
    "most_audible": "murmur loudest over",
    "respiration_bpm": "respiration rate",
    "covid19": "COVID-19 status",
    "outcome": "clinical outcome",
    "modality": "recording of",
}
UNITS = {"height_cm": " cm", "weight_kg": " kg", "respiration_bpm": " breaths per minute"}
MODALITIES = {"heart": "heart sounds", "lung": "lung sounds", "airborne": "an airborne sound"}
MOST_PROBLEMS = 8


def prompt_hash() -> str:
    """A hash of everything in a prompt but the facts."""
    parts = (SYSTEM, ASK, AGAIN, sorted(LABELS.items()), sorted(UNITS.items()), sorted(MODALITIES.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Ask:
    """One request for a report."""

    brief: Brief
    attempt: int = 0
    """0 for the first try."""
    answer: str = ""
    """What the try before gave."""
    problems: tuple[Problem, ...] = ()
    """What was wrong with it."""

    def seed(self, seed: int) -> int:
        """The seed of the sampling: of this recording, this try and no other; below 2^31."""
        return self.brief.draw(seed, f"try {self.attempt}") % 2**31


def messages(ask: Ask) -> Messages:
    """The conversation that asks for a report: again, with what was wrong, if there was an answer before."""
    brief, answer, problems = ask.brief, ask.answer, ask.problems
    facts = "\n".join(f"- {_fact(name, brief.known[name])}" for name in brief.asked)
    told = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ASK.format(facts=facts)}]
    if problems:
        wrong = "\n".join(f"- {problem}" for problem in problems[:MOST_PROBLEMS])
        told += [{"role": "assistant", "content": answer}] if answer else []
        told += [{"role": "user", "content": AGAIN.format(problems=wrong)}]
        if not answer:
            told[1:] = [{"role": "user", "content": told[1]["content"] + "\n\n" + told[2]["content"]}]
    return told


def _fact(name: str, value: str) -> str:
    fact = BY_NAME[name]
    label = LABELS.get(name, name.replace("_", " "))
    if value == UNKNOWN:
        return f"{label}: unknown"
    if fact.polar:
        return f"{label}: {fact.shown[0] if value == YES else fact.shown[1] if value == NO else value}"
    if name == "age" and value[0].isdigit():
        return f"{label}: {value} years"
    if name in ("site", "murmur_locations", "most_audible"):
        areas = value.split("+")
        return f"{label}: {', '.join(areas)}{'' if 'chest' in value or value == 'trachea' else ' area'}" + (
            "s" if len(areas) > 1 else ""
        )
    value = MODALITIES.get(value, value) if name == "modality" else value
    return f"{label}: {value}{UNITS.get(name, '')}"
