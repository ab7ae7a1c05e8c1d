"""Wall-clock time from the sample index.

Does: turns an absolute sample index into UTC by way of one anchor, reads both of the system's clocks, notices when the
one is set against the other, writes and reads RFC 3339, and asks the kernel whether its clock is synchronised. Does
not: count samples, follow a sound card's clock (`edge.cardclock`), or set any clock.
"""

from __future__ import annotations

import ctypes
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache

from edge.errors import ConfigError

_TIME_ERROR = 5
"""What adjtimex(2) returns while no time source has set the clock."""

SMALLEST_STEP_S = 0.5
"""A clock that is only slewed moves a thousandth of this from one second to the next; a busy machine may hold a reading
up between the two clocks, but hardly for so long."""

_APART_S = 0.001
"""Both clocks read within so many seconds count as read at one moment."""
_READINGS = 5
"""At most; on a machine on which all of them are held up, the last is taken."""

_TIMEX_BYTES = 512
"""Room for struct timex, which takes 208 bytes on 64-bit Linux and 128 on 32-bit."""


@dataclass(frozen=True)
class Anchor:
    """One instant that is known both as UTC and as a sample index."""

    utc: datetime
    """Zone-aware."""
    sample_index: int
    sample_rate_hz: int
    synchronised: bool
    """Whether a time source had set the clock when `utc` was read from it."""

    def at(self, sample_index: int) -> datetime:
        """UTC of an absolute sample index, to the microsecond and without cumulative rounding."""
        samples = sample_index - self.sample_index
        seconds, rest = divmod(samples, self.sample_rate_hz)
        return self.utc + timedelta(seconds=seconds, microseconds=rest * 1_000_000 // self.sample_rate_hz)


@dataclass(frozen=True)
class Reading:
    """Both clocks of the system at one moment: what makes a time of day of a monotonic time."""

    utc: datetime
    """Zone-aware."""
    monotonic_s: float
    synchronised: bool
    """Whether a time source has set the clock."""

    def at(self, monotonic_s: float) -> datetime:
        """UTC of a monotonic time, by the clock as it is set at this reading; also of one before it was set."""
        return self.utc + timedelta(seconds=monotonic_s - self.monotonic_s)


def read() -> Reading:
    """Read both clocks, and again where this thread was held up between the two, as one of many often is."""
    # Asked first: if the clock is set meanwhile, no time from before may count as true.
    synchronised = is_synchronised()
    for _ in range(_READINGS):
        before_s, utc, after_s = time.monotonic(), utc_now(), time.monotonic()
        if after_s - before_s <= _APART_S:
            break
    return Reading(utc, (before_s + after_s) / 2, synchronised)


class StepWatch:
    """Notices that the time of day was set: that it moved against the monotonic clock."""

    def __init__(self, now: Reading) -> None:
        """Begin with a reading."""
        self._last = now

    def step_s(self, now: Reading) -> float:
        """By how many seconds the clock was set forward (below 0: back) since the last reading; 0.0 if it was not."""
        step_s = (now.utc - self._last.at(now.monotonic_s)).total_seconds()
        self._last = now
        return step_s if abs(step_s) >= SMALLEST_STEP_S else 0.0


def utc_now() -> datetime:
    """The present, zone-aware."""
    return datetime.now(timezone.utc)


def rfc3339(instant: datetime) -> str:
    """A zone-aware instant as RFC 3339 in UTC with milliseconds, such as ``2026-11-23T22:38:22.123Z``."""
    text = instant.astimezone(timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def parse_rfc3339(text: str) -> datetime:
    """The zone-aware instant that `text` names.

    Raises:
        ConfigError: it is not RFC 3339, or names no zone and so no instant.
    """
    try:
        instant = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a time; write it as 2026-11-23T22:38:22Z") from error
    if instant.tzinfo is None:
        raise ConfigError(f"{text!r} names no time zone; add Z for UTC or an offset such as +01:00")
    return instant


def is_synchronised() -> bool:
    """Whether the kernel holds its clock to be set by a time source (NTP, PTP, GPS).

    A kernel that does not say, or a container that may not ask, counts as not synchronised.
    """
    try:
        state: int = _libc().adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    except (AttributeError, OSError):
        return False
    return 0 <= state < _TIME_ERROR


@cache
def _libc() -> ctypes.CDLL:
    """Opened once: the clock is read with every block, and opening costs more than the question."""
    return ctypes.CDLL(None)
