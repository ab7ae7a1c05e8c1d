"""Reports by template: a deterministic grammar with several phrasings a fact, no network, no model.

Two or three sentences (four where a murmur has two phases): what was recorded of whom, what is heard, what was
concluded. The choice among phrasings depends on the seed and the recording alone. It says every fact that is asked and
no other; `align.reports.check` judges it like any writer, and a phrasing that fails there is a defect.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Mapping, Sequence

from align.reports import phrasings
from align.reports.check import ADULT_YEARS
from align.reports.facts import Brief
from align.reports.phrasings import Choices
from align.reports.values import NO, UNKNOWN, YES

VALVES = ("aortic", "mitral", "pulmonary", "tricuspid")
ENDINGS = ("covid19", "smoker", "crackles", "wheezes", "murmur_here")
"""Facts of `phrasings.STATUS`; the last three only where they are unknown."""


def grammar_hash() -> str:
    """A hash that changes with any change of the grammar."""
    source = inspect.getsource(phrasings) + inspect.getsource(sys.modules[__name__])
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def compose(brief: Brief, seed: int) -> str:
    """The report of a recording."""
    return _Report(brief, seed).text()


class _Report:
    """One report in the making: the facts to state and the dice that choose among phrasings."""

    def __init__(self, brief: Brief, seed: int) -> None:
        self._say: Mapping[str, str] = {name: brief.known[name] for name in brief.asked}
        self._dice = brief.draw(seed, "template")
        self._noun = "patient" if brief.known.get("modality") in ("heart", "lung") else "person"

    def text(self) -> str:
        sentences = [*self._recording(), *self._murmur(), *self._lungs(), *self._conclusions()]
        return " ".join(_capital(sentence) for sentence in sentences) or phrasings.NOTHING_KNOWN

    def _pick(self, choices: Choices) -> str:
        self._dice, chosen = divmod(self._dice, len(choices))
        return choices[chosen]

    # What was recorded

    def _recording(self) -> list[str]:
        whom, place, device = self._person(), self._place(), self._say.get("device")
        what, rest = self._what()
        if not what:
            if not (whom or place or device):
                return rest
            what = phrasings.ANY_SOUND
        how = f" with {_article(phrasings.NAMES.get(device, device))}" if device else ""
        parts = {
            "what": what,
            "What": _capital(what),
            "were": "were" if what.split(" of ")[0].split(" over ")[0].endswith("s") else "was",
            "where": f" over {place}" if place else "",
            "whom": f" from {whom}" if whom else "",
            "how": how,
            "taken": f", taken{f' over {place}' if place else ''}{how}" if place or how else "",
        }
        return [self._pick(phrasings.RECORDED).format(**parts), *rest]

    def _what(self) -> tuple[str, list[str]]:
        """What was recorded, and a sentence of its own where it does not fit into another."""
        modality, event, kind = (self._say.get(name, "") for name in ("modality", "event", "kind"))
        if modality == "lung" and event == "breath" and not kind:
            return self._pick(phrasings.SOUNDS["lung breath"]), []
        told = self._pick(phrasings.SOUNDS[modality]) if modality in phrasings.SOUNDS else ""
        name = kind or event
        if not told and name in phrasings.SOUNDS:
            return self._pick(phrasings.SOUNDS[name]), []
        if not name:
            return told, []
        choices = phrasings.NO_COUGH if name == "no cough" else phrasings.OTHER_SOUND
        return told, [self._pick(choices).format(event=name)]

    def _place(self) -> str:
        site = self._say.get("site", "")
        if site == "other":
            return "another area"
        return f"the {site} area" if site in VALVES else f"the {site}" if site else ""

    def _person(self) -> str:
        """The person with an article and all that is said of their body; empty where nothing is."""
        sex, age = self._say.get("sex", ""), self._say.get("age", "")
        body, pregnant = self._body(), self._say.get("pregnant", "")
        if not (sex or age or body or pregnant):
            return ""
        if age and not age[0].isdigit():
            person = f"{sex} {age}".strip()
        elif age:
            nouns = phrasings.ADULTS if float(age) >= ADULT_YEARS else phrasings.MINORS
            aged = self._pick(phrasings.AGED).format(years=age, noun=nouns.get(sex, self._noun))
            person = aged.replace(" 1 years", " 1 year")
        else:
            person = f"{sex} {self._noun}".strip()
        if pregnant == YES:
            person = f"pregnant {person}"
        elif pregnant == NO:
            body = f" who is not pregnant{body}"
        return _article(person) + body

    def _body(self) -> str:
        height, weight = self._say.get("height_cm"), self._say.get("weight_kg")
        if not (height or weight):
            return ""
        form = self._pick_body()["both" if height and weight else "height" if height else "weight"]
        return form.format(height=height, weight=weight)

    def _pick_body(self) -> Mapping[str, str]:
        self._dice, chosen = divmod(self._dice, len(phrasings.BODIES))
        return phrasings.BODIES[chosen]

    # What is heard

    def _murmur(self) -> list[str]:
        murmur = self._say.get("murmur")
        if murmur is None:
            return []
        if murmur != YES:
            return [self._pick(phrasings.NO_MURMUR if murmur == NO else phrasings.MURMUR_UNKNOWN)]
        phases = [phase for phase in ("systolic", "diastolic") if any(name.startswith(phase) for name in self._say)]
        where, here = self._heard_over(), ""
        if self._say.get("murmur_here") in (YES, NO):
            here = self._pick(phrasings.HERE if self._say["murmur_here"] == YES else phrasings.NOT_HERE)
        sentences = [self._a_murmur(phrasings.MURMUR, phases[0] if phases else "", where, here)]
        sentences += [self._a_murmur(phrasings.MURMUR_TOO, phase, "", "") for phase in phases[1:]]
        return sentences

    def _a_murmur(self, choices: Choices, phase: str, where: str, here: str) -> str:
        get = {
            name: self._say.get(f"{phase}_{name}", "") for name in ("timing", "shape", "grading", "pitch", "quality")
        }
        noun = f"{(get['timing'] or phase).replace('early ', 'early-').replace('mid ', 'mid-')} murmur".strip()
        grade = f" of grade {get['grading']}" if get["grading"] else ""
        shape = phrasings.SHAPES.get(get["shape"], get["shape"])
        if self._pick(("before", "after")) == "before":
            adjectives = ", ".join(filter(None, (get["quality"], get["pitch"] and f"{get['pitch']}-pitched", shape)))
            murmur = _article(f"{adjectives} {noun}".strip()) + grade
        else:
            properties = (
                shape,
                get["pitch"] and f"{get['pitch']} in pitch",
                get["quality"] and f"{get['quality']} in quality",
            )
            said = _listed([part for part in properties if part])
            murmur = _article(noun) + grade + (f", {said}," if said else "")
        sentence = self._pick(choices)
        if not where and murmur.endswith(",") and sentence.startswith("There"):
            murmur = murmur.removesuffix(",")
        return sentence.format(a_murmur=murmur, A_murmur=_capital(murmur), where=where, here=here).replace(",,", ",")

    def _heard_over(self) -> str:
        areas = self._say.get("murmur_locations", "").split("+") if "murmur_locations" in self._say else []
        areas = sorted(areas, key=lambda area: (area == "other", area))
        where = f" over the {_listed(areas)} area{'s' if len(areas) > 1 else ''}" if areas else ""
        where = " over another area" if areas == ["other"] else where
        loudest = self._say.get("most_audible")
        if not loudest:
            return where
        return (
            f"{where}{',' if where else ''} loudest over {'another' if loudest == 'other' else f'the {loudest}'} area"
        )

    def _lungs(self) -> list[str]:
        pair = tuple(self._say.get(name, "").replace(UNKNOWN, "") for name in ("crackles", "wheezes"))
        choices = phrasings.LUNG_SOUNDS.get((pair[0], pair[1]))
        return [self._pick(choices)] if choices else []

    # What was concluded

    def _conclusions(self) -> Sequence[str]:
        said = []
        if "respiration_bpm" in self._say:
            said.append(self._pick(phrasings.RATE).format(**self._say))
        for name in ENDINGS:
            choices = phrasings.STATUS.get((name, self._say.get(name, "")))
            if choices:
                said.append(self._pick(choices).format(noun=self._noun))
        for name, choices in (("diagnosis", phrasings.DIAGNOSIS), ("outcome", phrasings.OUTCOME)):
            if name in self._say:
                said.append(self._pick(choices).format(**self._say))
        return said


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _article(noun: str) -> str:
    number = noun.split("-")[0].split(" ")[0]
    sounds_open = noun[0].lower() in "aeiou" or number in ("11", "18") or number.startswith("8")
    return f"{'an' if sounds_open else 'a'} {noun}"


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1]))) if words else ""
