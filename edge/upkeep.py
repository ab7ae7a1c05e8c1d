"""What must be done every second while the listeners listen, in one thread.

Does: closes minutes, corrects times once the clock is set, tells when it was set, and contents systemd's watchdog while
sound and inference go on. Does not: listen, store or send.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from edge import clock
from edge.clock import Reading, StepWatch
from edge.corrections import Corrections
from edge.minute import Minutes
from edge.notify import Notifier

log = structlog.get_logger()


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
        self._steps = StepWatch(clock.read())
        self._told: set[str] = set()

    def turn(self) -> None:
        """Do what is due; to be called every second, and once more when all listeners are done."""
        self._notifier.turn(self._stuck())
        now = clock.read()
        if step_s := self._steps.step_s(now):
            log.warning("clock_set", by_s=round(step_s, 3), synchronised=now.synchronised)
        put = self._guarded("minutes", self._minutes.turn, now)
        put += self._guarded("corrections", self._corrections.turn, now)
        if put:
            self._notify()

    def _guarded(self, name: str, turn: Callable[[Reading], int], now: Reading) -> int:
        """What a turn has put into the outbox; a defect there, told once, is no reason to stop listening."""
        try:
            return turn(now)
        except Exception:
            if name not in self._told:
                self._told.add(name)
                log.exception("upkeep_failed", part=name, action="report this; listening goes on")
            return 0
