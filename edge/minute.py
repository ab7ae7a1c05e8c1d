"""The minute's report: what was counted, over how much sound, and how well it could be heard.

Does: keeps the books of every listener by minutes of UTC, and puts the report of each minute into the outbox once no
event of it can come any more. Does not: detect, or measure (`edge.level`); what else a report tells (respiration,
drift) is asked of whoever knows.

Inside, a minute is a stretch of the monotonic clock; its ends follow the time of day, also when that is set. A minute
without any sound is reported as well: all gap. The first and the last minute of a run are shorter.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from uuid6 import uuid7

from edge import clock
from edge.clock import SMALLEST_STEP_S, Reading
from edge.corrections import Corrections
from edge.events import REGION_LIMIT_S
from edge.hooks import Hooks
from edge.level import LevelMeter
from edge.outbox import Outbox
from edge.payloads import Minute, Origin, minute_payload, to_bytes

if TYPE_CHECKING:
    from edge.events import Event
    from edge.listener import Listener
    from edge.sources.base import Block

PATIENCE_S = 2 * REGION_LIMIT_S + 15.0
"""A minute of a source that delivers nothing any more is closed so long after its end. No event of it comes later: one
reaches back as far as a region may, is told when that closes, and a window waits for its end and its turn."""
_ROUNDING_S = 1e-3


@dataclass
class _Minute:
    """An open minute: its ends by the monotonic clock, and what was heard in it."""

    start_s: float
    end_s: float
    unix_less_monotonic_s: float
    """How the clocks stood to each other when it was opened."""
    meter: LevelMeter | None = None
    counts: Counter[str] = field(default_factory=Counter)
    monitored_s: float = 0.0
    lag_s: float = 0.0


class _Ledger:
    """The open minutes of one listener, oldest first, without a hole between them."""

    def __init__(self, listener: Listener, now: Reading) -> None:
        self.listener = listener
        self.is_closed = False
        self._heard_s = listener.card.recorded_s(0.0)
        self._minutes = deque([_open(self._heard_s, now)])
        self._lock = threading.Lock()

    def block(self, block: Block, now: Reading) -> None:
        """Enter a block, cut where a minute ends."""
        rate_hz = self.listener.source.sample_rate_hz
        start_s = self.listener.card.recorded_s(block.position / rate_hz)
        samples = block.samples
        with self._lock:
            while len(samples):
                minute = self._minute_of(start_s, now)
                frames = min(len(samples), max(1, round((minute.end_s - start_s) * rate_hz)))
                minute.meter = minute.meter or LevelMeter(rate_hz)
                minute.meter.push(samples[:frames])
                minute.monitored_s += frames / rate_hz
                samples = samples[frames:]
                start_s = max(start_s + frames / rate_hz, minute.end_s if len(samples) else 0.0)
            self._heard_s = max(self._heard_s, start_s)

    def event(self, event: Event, now: Reading) -> None:
        """Count an event in the minute of its onset."""
        with self._lock:
            self._minute_of(self.listener.recorded_s(event.onset), now).counts[event.label] += 1

    def take(self, now: Reading) -> list[_Minute]:
        """The minutes to which nothing can be added any more; all, once the listener is done."""
        if self.listener.is_done:
            return self._close(now)
        settled_s = self.listener.settled_s
        with self._lock:
            self._minutes[-1].lag_s = max(self._minutes[-1].lag_s, self.listener.lag_s)
            if self.listener.is_idle:
                settled_s = max(settled_s, now.monotonic_s - PATIENCE_S)
                self._minute_of(settled_s, now)  # time goes on without sound
            return self._pop(settled_s)

    def _close(self, now: Reading) -> list[_Minute]:
        with self._lock:
            if self.is_closed:
                return []
            self.is_closed = True
            # A live source could have been heard until now; a recording ends where it ends.
            end_s = max(self._heard_s, now.monotonic_s) if self.listener.pace == "live" else self._heard_s
            self._minute_of(end_s, now)
            done = self._pop(end_s)
            last = self._minutes[0]
            return [*done, replace(last, end_s=end_s)] if end_s > last.start_s else done

    def _pop(self, settled_s: float) -> list[_Minute]:
        done = []
        while len(self._minutes) > 1 and self._minutes[0].end_s <= settled_s:
            done.append(self._minutes.popleft())
        return done

    def _minute_of(self, at_s: float, now: Reading) -> _Minute:
        """The minute in which a monotonic time lies, or the oldest that is open; later ones are opened on the way."""
        newest = self._minutes[-1]
        if abs(_unix_less_monotonic_s(now) - newest.unix_less_monotonic_s) >= SMALLEST_STEP_S:
            # The clock has been set since: what is still to come of this minute ends with the new time of day.
            begun = _open(max(self._heard_s, newest.start_s), now)
            newest.end_s, newest.unix_less_monotonic_s = begun.end_s, begun.unix_less_monotonic_s
        while at_s >= self._minutes[-1].end_s:
            self._minutes.append(_open(self._minutes[-1].end_s, now))
        return next(minute for minute in self._minutes if at_s < minute.end_s)


def _unix_less_monotonic_s(now: Reading) -> float:
    return now.utc.timestamp() - now.monotonic_s


def _open(start_s: float, now: Reading) -> _Minute:
    """A minute from a monotonic time to the end of the minute of UTC in which that lies, by the clock as it is now."""
    utc = now.at(start_s)
    left_s = 60.0 - utc.second - utc.microsecond / 1e6
    # Rounding may put the start just before the end of the minute before; no minute is that short.
    return _Minute(start_s, start_s + left_s + (60.0 if left_s < _ROUNDING_S else 0.0), _unix_less_monotonic_s(now))


class Minutes:
    """Reports for all listeners; they call from their own threads, one other thread calls `turn`."""

    def __init__(
        self,
        origin: Origin,
        base_topic: str,
        outbox: Outbox,
        *,
        corrections: Corrections,
        hooks: Hooks,
    ) -> None:
        """Register with the hooks."""
        self.respiration: Callable[[str], Mapping[str, Any] | None] = lambda _name: None
        """Whoever follows breathing puts here what tells a listener's clearest rate of the last minute, by its name."""
        self.drift: Callable[[str], float | None] = lambda _name: None
        """Whoever measures drift puts here what tells that of a listener's last minute, by its name."""
        self._origin = origin
        self._topic = f"{base_topic}/minute"
        self._outbox = outbox
        self._corrections = corrections
        self._ledgers: dict[str, _Ledger] = {}
        hooks.on_block.append(self._note_block)
        hooks.on_event.append(self._note_event)

    def _note_block(self, listener: Listener, block: Block) -> None:
        self._ledgers[listener.name].block(block, clock.read())

    def _note_event(self, listener: Listener, event: Event, _payload: dict[str, Any]) -> None:
        self._ledgers[listener.name].event(event, clock.read())

    def watch(self, listener: Listener) -> None:
        """Begin the books of a listener, before it starts."""
        self._ledgers[listener.name] = _Ledger(listener, clock.read())

    def turn(self, now: Reading) -> int:
        """Report the minutes that are complete; to be called every second, and once when all listeners are done.

        Returns: how many have been put into the outbox.
        """
        return sum(self._report(ledger, ledger.take(now), now) for ledger in self._ledgers.values())

    def _report(self, ledger: _Ledger, minutes: list[_Minute], now: Reading) -> int:
        listener = ledger.listener
        origin = replace(self._origin, source=listener.name)
        for minute in minutes:
            minute_id = str(uuid7())
            payload = minute_payload(origin, self._told(listener, minute, now), minute_id=minute_id)
            self._outbox.put(minute_id, self._topic, to_bytes(payload), telemetry=True)
            if not now.synchronised:
                times_s = {"start": minute.start_s + _ROUNDING_S / 2}
                self._corrections.note(minute_id, self._topic, payload, times_s, telemetry=True)
        return len(minutes)

    def _told(self, listener: Listener, minute: _Minute, now: Reading) -> Minute:
        return Minute(
            start=now.at(minute.start_s + _ROUNDING_S / 2),  # to the nearest millisecond, not the one before
            duration_s=minute.end_s - minute.start_s,
            synchronised=now.synchronised,
            counts={label.name: minute.counts[label.name] for label in listener.model.bundle.manifest.labels},
            monitored_s=minute.monitored_s,
            level=(minute.meter or LevelMeter(1)).level(),
            lag_s=minute.lag_s,
            card_drift_ppm=listener.card.drift_ppm,
            respiration=self.respiration(listener.name),
            drift=self.drift(listener.name),
        )
