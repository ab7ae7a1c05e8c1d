"""What is known of a recording and what its report has to say.

Reads a `Recording`'s labels and metadata by the vocabulary, drops what makes no sense to say, and takes out hidden
labels with all that implies them. Does not write and does not check.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from align.corpora import Recording
from align.files import relative
from align.reports.errors import ReportError
from align.reports.lexicon import tokens_of
from align.reports.values import NO, UNKNOWN, YES, OutOfRangeError
from align.reports.vocabulary import AGES, BY_NAME, DETAILS, EVENT_OF_KIND, FACTS, IMPLIED, Fact

NO_COUGH = "no cough"
WORDED = ("event", "device", "diagnosis")
"""Facts whose value can be any words of a table."""
NUMBERS = tuple(fact for fact in FACTS if fact.units)
"""Facts whose value is a number."""
AGE_GROUPS = tuple(age for age in AGES if age not in ("minor", "adult"))
NOT_PREGNANT_BY_AGE = ("neonate", "infant", "child")


@dataclass(frozen=True)
class Brief:
    """What one report is to be written of, and against what it is checked."""

    key: str
    """The recording's path relative to its table, so that it is the same on every machine."""
    known: Mapping[str, str]
    """Fact to value, without the hidden ones: what may be said. A fact that is not here is unknown."""
    asked: tuple[str, ...]
    """The facts that the report must state."""
    hidden: frozenset[str]
    """The facts about which it must not say a word."""

    @property
    def digest(self) -> str:
        """A hash of all that the report depends on, but for the writer."""
        content = json.dumps([self.key, sorted(self.known.items()), self.asked, sorted(self.hidden)])
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def draw(self, seed: int, purpose: str = "") -> int:
        """A number of 256 bits that depends on the seed, the recording and a purpose, and on nothing else."""
        return int.from_bytes(hashlib.sha256(f"{seed}:{purpose}:{self.key}".encode()).digest(), "big")


def hide(labels: Iterable[str]) -> frozenset[str]:
    """The labels and every fact that implies one of them.

    Raises:
        ReportError: a label is no fact.
    """
    hidden: set[str] = set()
    for label in labels:
        if label not in BY_NAME:
            close = difflib.get_close_matches(label, BY_NAME, n=1)
            hint = f"did you mean {close[0]}?" if close else "the facts are " + ", ".join(BY_NAME)
            raise ReportError(f"--hide {label}: no report states that; {hint}")
        hidden |= {label, *IMPLIED.get(label, ())}
    return frozenset(hidden)


def without_impossible(rows: Sequence[Recording], source: Path) -> tuple[list[Recording], list[str]]:
    """The recordings with what cannot be as unknown; a line on each kind of slip.

    That is a number that nobody can have, such as an age of 200, and facts of which one must be wrong, such as a boy
    who is pregnant. For corpora that others published: a slip in one of their rows can be told, but not corrected by
    who reads it.

    Raises:
        ReportError: a value cannot be read. The message names `source`.
    """
    kept: list[Recording] = []
    slips: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        mended = _forget(row, _impossible_numbers(row, slips))
        known = _known(mended, source)
        wrong = _contradictions(known)
        for names in wrong:
            both = f"{names[0]} {known[names[0]]} and {names[-1]} {known[names[-1]]}"
            slips[f"{names[0]} and {names[-1]} contradict each other"].append(f"{both} of {row.path.name}")
        kept.append(_forget(mended, [column for names in wrong for name in names for column in BY_NAME[name].columns]))
    told = [f"{slip}: {found[0]} (and {len(found) - 1} more)" for slip, found in slips.items()]
    return kept, told


def _impossible_numbers(row: Recording, slips: dict[str, list[str]]) -> list[str]:
    """The row's columns that hold one; each is added to the slips."""
    cells = row.metadata | row.labels
    columns = []
    for fact in NUMBERS:
        for column in fact.columns:
            if column in cells and (allowed := _out_of_range(fact, cells[column])):
                columns.append(column)
                slips[f"{fact.name} is not {allowed}"].append(f"'{cells[column]}' of {row.path.name}")
    return columns


def _forget(row: Recording, columns: Sequence[str]) -> Recording:
    """The row with these of its cells as unknown."""
    metadata, labels = (
        {name: UNKNOWN if name in columns else cell for name, cell in given.items()}
        for given in (row.metadata, row.labels)
    )
    return replace(row, metadata=metadata, labels=labels) if columns else row


def _out_of_range(fact: Fact, cell: str) -> str:
    """What numbers the fact may have, where the cell holds another one; nothing otherwise."""
    try:
        fact.read(cell)
    except OutOfRangeError as error:
        return str(error)
    except ValueError:
        pass  # not a number at all: a column of another meaning, or the name of an age group
    return ""


def brief_all(
    rows: Sequence[Recording], table: Path, hidden: frozenset[str] = frozenset(), *, root: Path | None = None
) -> list[Brief]:
    """What to write of every recording.

    Args:
        rows: the recordings.
        table: where they are listed, for messages.
        hidden: facts that no report may state.
        root: folder below which a recording's path is its key; that of the table where none is given.

    Raises:
        ReportError: a value cannot be read, or no recording has a single fact to state. The message names it.
    """
    root = table.parent if root is None else root
    briefs = [_brief(row, table, hidden, relative(row.path, root)) for row in rows]
    if briefs and not any(set(brief.asked) - {"modality"} for brief in briefs):
        columns = ", ".join(["event", *(fact.columns[0] for fact in FACTS if fact.columns)])
        left = f" once {', '.join(sorted(hidden))} are hidden" if hidden else ""
        raise ReportError(f"{table}: no column holds a fact to report{left}; add one of {columns}")
    return briefs


def _brief(row: Recording, table: Path, hidden: frozenset[str], key: str) -> Brief:
    known = {
        name: value
        for name, value in _read(row, table).items()
        if name not in hidden and not (hidden and name in WORDED and _tells(value, hidden))
    }
    asked = [name for name, value in known.items() if name != "modality" and _worth_saying(name, value, known)]
    if "modality" in known and (known["modality"] != "airborne" or not asked):
        asked.insert(0, "modality")
    return Brief(key, known, tuple(asked), hidden)


@functools.cache
def _tells(value: str, hidden: frozenset[str]) -> bool:
    """Whether a value of any words, such as "covid cough" or "innocent murmur", speaks of a hidden fact."""
    words = f" {' '.join(tokens_of(value))} "
    facts = [BY_NAME[name] for name in hidden]
    phrases = [phrase for fact in facts for several in fact.stated_by.values() for phrase in several]
    phrases += [phrase for fact in facts for phrase in fact.subjects]
    return any(f" {' '.join(tokens_of(phrase))} " in words for phrase in phrases)


def _read(row: Recording, table: Path) -> dict[str, str]:
    """Fact to value, in the order of the vocabulary, and nothing that contradicts another.

    Raises:
        ReportError: a value cannot be read, or two contradict each other: whatever a report said, half would be wrong.
    """
    known = _known(row, table)
    for names in _contradictions(known):
        told = f"{names[0]} of {row.path.name} is {known[names[0]]}, but {names[-1]} is {known[names[-1]]}"
        raise ReportError(f"{table}: {told}; correct one of them or leave it empty")
    return _consistent(known)


def _known(row: Recording, table: Path) -> dict[str, str]:
    """Fact to value as the row has it."""
    modality = _value(BY_NAME["modality"], row.modality, row, table)
    known = {"modality": modality} if modality else {}
    # "heart" and "lung" as events only repeat the modality.
    if row.event and row.event.lower() not in ("heart", "lung", row.modality.lower()):
        value = _value(BY_NAME["event"], row.event, row, table)
        if value and value != UNKNOWN:
            known["event"] = NO_COUGH if value in ("non cough", "non-cough") else value
    # A table's columns are metadata; an adapter gives what a task may predict as labels, and those are its last word.
    cells = row.metadata | row.labels
    for fact in FACTS:
        for column in fact.columns:
            cell = cells.get(column)
            value = _value(fact, cell, row, table) if cell else None
            if value:
                known[fact.name] = value
                break
    return known


def _value(fact: Fact, cell: str, row: Recording, table: Path) -> str | None:
    if fact.name == "age" and cell.strip().lower() in AGE_GROUPS:
        return cell.strip().lower()
    try:
        return fact.read(cell)
    except ValueError as error:
        kinds = ", or one of " + ", ".join(AGE_GROUPS) if fact.name == "age" else ""
        raise ReportError(f"{table}: {fact.name} of {row.path.name} is '{cell}'; write {error}{kinds}") from None


def _contradictions(known: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Facts of which the first ones and the last one cannot both be."""
    details = tuple(name for name in DETAILS if known.get(name, UNKNOWN) not in (UNKNOWN, NO))
    found: list[tuple[str, ...]] = []
    if "kind" in known and known.get("event", "") not in ("", EVENT_OF_KIND[known["kind"]]):
        found.append(("kind", "event"))
    if known.get("pregnant") == YES and known.get("sex") == "male":
        found.append(("pregnant", "sex"))
    if known.get("murmur") == NO and details:
        found.append((*details, "murmur"))
    return found


def _consistent(known: dict[str, str]) -> dict[str, str]:
    """Say that a heavy cough is a cough and that a murmur that is somewhere is there; nothing of one that is not.

    A table that is computed from where a murmur was heard says "not heard here" of a child whose murmur is unknown.
    """
    if "kind" in known:
        known.setdefault("event", EVENT_OF_KIND[known["kind"]])
    if any(known.get(name, UNKNOWN) not in (UNKNOWN, NO) for name in DETAILS):
        known.setdefault("murmur", YES)
    if known.get("murmur") != YES:
        return {name: value for name, value in known.items() if name not in DETAILS}
    return known


def _worth_saying(name: str, value: str, known: Mapping[str, str]) -> bool:
    """Whether a clinician would say it: that a boy or a small child is not pregnant goes without saying."""
    if name == "pregnant":
        could_be = known.get("sex") == "female" and known.get("age") not in NOT_PREGNANT_BY_AGE
        return value == YES or (value == NO and could_be)
    if name == "most_audible" and value == known.get("murmur_locations"):
        return False
    # That the age or the device is not known is best left out; that nobody could tell a murmur is a finding.
    return value != UNKNOWN or BY_NAME[name].polar
