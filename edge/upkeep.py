"""What must be done every second while the listeners listen, in one thread.

Does: closes minutes, corrects times once the clock is set, tells when it was set, and contents systemd's watchdog while
sound and inference go on. Does not: listen, store or send.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from edge import clock
from edge.clock import StepWatch
from edge.corrections import Corrections
from edge.guard import Guard
from edge.minute import Minutes
from edge.notify import Notifier

log = structlog.get_logger()

_TURN_S = 30.0
"""A turn comes every second and takes less; after so long without one, whoever turns counts as stuck."""


class Upkeep:
    """One thread calls `turn`."""

    def __init__(
        self,
        *,
        minutes: Minutes,
        corrections: Corrections,
        notifier: Notifier,
        stuck: Callable[[], str],
        notify: Callable[[], None],
    ) -> None:
        """stuck: why nothing goes on; empty while all does. notify: says that there is something to send."""
        self._minutes = minutes
        self._corrections = corrections
        self._notifier = notifier
        self._stuck = stuck
        self._notify = notify
        self._turned_s = time.monotonic()
        self._steps = StepWatch(clock.read())
        self._guard = Guard("upkeep_failed")

    def turn(self) -> None:
        """Do what is due; to be called every second, and once more when all listeners are done."""
        self._turned_s = time.monotonic()
        self._notifier.turn(self._stuck())
        now = clock.read()
        if step_s := self._steps.step_s(now):
            log.warning("clock_set", by_s=round(step_s, 3), synchronised=now.synchronised)
        turns = (("minutes", self._minutes.turn), ("corrections", self._corrections.turn))
        # Each is called whether or not the other has put something into the outbox.
        put = [self._guard.call(name, turn, now) for name, turn in turns]
        if any(put):
            self._notify()

    @property
    def is_stuck(self) -> bool:
        """Whether sound, analysis or `turn` itself does not go on, for no reason that is known. Any thread."""
        return bool(self._stuck()) or time.monotonic() - self._turned_s > _TURN_S

    @property
    def trouble(self) -> str:
        """What fails; empty while nothing does."""
        return self._guard.trouble
