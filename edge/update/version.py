"""Which of two versions of a bundle is the older one. Pure."""

from __future__ import annotations

import re

_NUMBERS = re.compile(r"\d+(\.\d+)*")


def is_older(version: str, known: str) -> bool:
    """Whether `version` comes before `known`, number by number: 0.9.0 before 0.10.0, and 1.0 with 1.0.0.

    Of two that differ and are not both numbers with dots, nobody can tell the order: then it counts as older.
    """
    if not (_NUMBERS.fullmatch(version) and _NUMBERS.fullmatch(known)):
        return version != known
    return _numbers(version) < _numbers(known)


def _numbers(version: str) -> list[int]:
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
