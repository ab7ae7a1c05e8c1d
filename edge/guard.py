"""Parts beside hearing (minutes, clips, figures, ...): a defect in one must not cost what is heard.

Does: calls them, tells a defect once in the log and, for as long as it lasts, in `trouble`. Does not: mend it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from edge.errors import first_line

log = structlog.get_logger()

Result = TypeVar("Result")


class Guard:
    """One for parts that are called from one thread each."""

    def __init__(self, told_as: str) -> None:
        """told_as: the log's event of a defect."""
        self._told_as = told_as
        self._told: set[str] = set()
        self._failing: dict[str, str] = {}

    @property
    def trouble(self) -> str:
        """The parts whose last call failed, and why; empty while there is none."""
        return "; ".join(f"{name} failed ({why})" for name, why in list(self._failing.items()))

    def call(self, name: str, function: Callable[..., Result], *arguments: object) -> Result | None:
        """What a part returns; None where it fails."""
        try:
            result = function(*arguments)
        except Exception as error:
            self._failing[name] = first_line(error)
            if name not in self._told:
                self._told.add(name)
                log.exception(self._told_as, part=name, action="report this; listening goes on")
            return None
        self._failing.pop(name, None)
        return result
