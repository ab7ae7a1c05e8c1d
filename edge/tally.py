"""Counts events of one label for people: today, in the last hour, and when the last one was. Pure.

Does: counts by the local day and by the hour before now. Does not: know the clock, store anything, or send.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import date, datetime, timedelta

_HOUR = timedelta(hours=1)
_MOST_AN_HOUR = 10_000


@dataclass(frozen=True)
class Count:
    """What was counted, as of one moment."""

    date: date
    """The local day."""
    today: int
    last_hour: int
    """Since this run began, if that is less."""
    last: datetime | None


class Tally:
    """Add events as they come; instants are zone-aware, `now` in the local zone."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self._day: date | None = None
        self._earlier: tuple[date | None, int] = None, 0
        self._today = 0
        self._recent: deque[datetime] = deque(maxlen=_MOST_AN_HOUR)
        self._last: datetime | None = None

    def add(self, at: datetime, now: datetime) -> None:
        """Count an event; one of an earlier day counts for the hour alone."""
        self._turn_over(now)
        self._today += at.astimezone(now.tzinfo).date() == self._day
        self._recent.append(at)
        self._last = at if self._last is None else max(at, self._last)

    def take_over(self, day: date, today: int, last: datetime | None, now: datetime) -> None:
        """Add what an earlier run has counted; of another day it is kept until that comes, when the clock is set."""
        self._turn_over(now)
        if day == self._day:
            self._today += today
        else:
            self._earlier = day, today
        if last is not None and (self._last is None or last > self._last):
            self._last = last

    def count(self, now: datetime) -> Count:
        """The counts of this moment."""
        day = self._turn_over(now)
        while self._recent and now - self._recent[0] > _HOUR:
            self._recent.popleft()
        return Count(day, self._today, len(self._recent), self._last)

    def _turn_over(self, now: datetime) -> date:
        if now.date() != self._day:
            self._day = now.date()
            day, today = self._earlier
            self._today = today if day == self._day else 0
        return now.date()
