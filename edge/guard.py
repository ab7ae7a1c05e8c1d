"""Parts beside hearing (minutes, clips, figures, ...): a defect in one must not cost what is heard.

Does: calls them, tells a defect once in the log, and in `trouble` for a while after each time. Does not: mend it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from edge.errors import first_line

log = structlog.get_logger()

Result = TypeVar("Result")

TOLD_S = 120.0
"""A part that is asked for something once a minute, or by one of several sources, fails now and then and not always: it
counts as failing until it has not failed for so long."""


class Guard:
    """For any number of threads."""

    def __init__(self, told_as: str) -> None:
        """told_as: the log's event of a defect."""
        self._told_as = told_as
        self._failed: dict[str, tuple[str, float]] = {}
        """Why each part failed when it first did, and when it last did, in seconds of the monotonic clock."""

    @property
    def trouble(self) -> str:
        """The parts that fail, and why; empty while none does."""
        since = time.monotonic() - TOLD_S
        return "; ".join(f"{name} failed ({why})" for name, (why, at) in list(self._failed.items()) if at > since)

    def call(self, name: str, function: Callable[..., Result], *arguments: object) -> Result | None:
        """What a part returns; None where it fails."""
        try:
            return function(*arguments)
        except Exception as error:
            why, _ = self._failed.get(name, (first_line(error), 0.0))
            if name not in self._failed:
                log.exception(self._told_as, part=name, action="report this; listening goes on")
            self._failed[name] = why, time.monotonic()
            return None
