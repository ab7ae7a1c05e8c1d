"""What the page shows of the sound: the last minute of scores, the last events, the counts of a day.

Does: keeps them by the hooks, as messages that are numbered through, and gives a reader those that it has not had yet.
Does not: serve them, or keep anything over a restart. It holds a bounded amount, however many read.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edge import clock
from edge.level import LevelMeter

if TYPE_CHECKING:
    from edge.clock import Reading
    from edge.events import Event
    from edge.hooks import Hooks
    from edge.listener import Listener
    from edge.sources.base import Block
    from edge.track import TrackChunk

SPAN_S = 60.0
"""How much of every source's scores is kept."""
STEP_S = 0.1
"""Of the frames within so long the highest score is shown."""
MOST_EVENTS = 100
STRETCH_S = 900.0
"""Counts are by quarters of an hour, with which the hours of every time zone begin."""
DAY_MINUTES = 24 * 60


@dataclass(frozen=True)
class Message:
    """Something that has been heard."""

    number: int
    """Counts the messages of all sources from 1."""
    kind: str
    """``sound``, ``event`` or ``respiration``."""
    content: dict[str, Any]
    """As JSON holds it."""


@dataclass
class _Heard:
    """The last of one source: its messages, and the monotonic time (seconds) of the end of each."""

    messages: deque[tuple[float, Message]] = field(default_factory=deque)
    meter: LevelMeter | None = None


@dataclass
class _Stretch:
    """What was counted in `STRETCH_S`."""

    counts: Counter[str] = field(default_factory=Counter)
    """Events of all sources, by label."""
    heard_s: float = 0.0
    """Seconds of sound of all sources."""


class Board:
    """Listeners write, from their own threads; anyone reads."""

    def __init__(self, hooks: Hooks) -> None:
        """Register with the hooks."""
        self._lock = threading.Lock()
        self._number = 0
        self._heard: defaultdict[str, _Heard] = defaultdict(_Heard)
        self._events: deque[Message] = deque(maxlen=MOST_EVENTS)
        self._stretches: dict[int, _Stretch] = {}
        """By the minute of the monotonic clock that their start is nearest to, so that they stay where they belong when
        the time of day is set."""
        hooks.on_block.append(self._on_block)
        hooks.on_scores.append(self._on_scores)
        hooks.on_event.append(self._on_event)
        hooks.on_respiration.append(self._on_respiration)

    def since(self, number: int, source: str) -> list[Message]:
        """What was heard after the message of that number, in its order: by one source, and the last events of all."""
        with self._lock:
            heard = self._heard[source].messages if source in self._heard else ()
            messages = {message.number: message for message in [*(one for _, one in heard), *self._events]}
        return [message for _, message in sorted(messages.items()) if message.number > number]

    def day(self, now: Reading) -> list[dict[str, Any]]:
        """Events by label, and seconds of sound, of each quarter of an hour of the last day in which there was any.

        `at` is about its middle, which lies in the same hour also where the clock was set since or does not run true.
        """
        with self._lock:
            kept = [(minute, dict(one.counts), one.heard_s) for minute, one in sorted(self._stretches.items())]
        return [
            {"at": clock.rfc3339(now.at(minute * 60 + STRETCH_S / 2)), "counts": counts, "heard_s": round(heard_s, 1)}
            for minute, counts, heard_s in kept
        ]

    def _on_block(self, listener: Listener, block: Block) -> None:
        rate_hz = listener.source.sample_rate_hz
        start_s, now = listener.card.recorded_s(block.position / rate_hz), clock.read()
        with self._lock:
            heard = self._heard[listener.name]
            heard.meter = heard.meter or LevelMeter(rate_hz)
            heard.meter.push(block.samples)
            self._stretch(start_s, now).heard_s += len(block.samples) / rate_hz

    def _on_scores(self, listener: Listener, chunk: TrackChunk) -> None:
        if len(chunk.scores) == 0:
            return
        front_end = listener.model.bundle.manifest.front_end
        frame_s = front_end.hop_samples / front_end.sample_rate_hz
        frames = max(1, round(STEP_S / frame_s))
        first, end = (at * front_end.hop_samples for at in (chunk.start_frame, chunk.start_frame + len(chunk.scores)))
        start = listener.anchor(first, clock.read()).at(first)
        with self._lock:
            heard = self._heard[listener.name]
            level = (heard.meter or LevelMeter(1)).level()
            heard.meter = None
            content = {
                "start": clock.rfc3339(start),
                "step_s": frames * frame_s,
                "duration_s": len(chunk.scores) * frame_s,
                "scores": highest(chunk.scores, frames).astype(np.float64).round(3).tolist(),
                "level_dbfs": level.level_dbfs,
                "clipped": level.clipped,
            }
            self._keep(listener, listener.recorded_s(end), self._message("sound", content))

    def _on_event(self, listener: Listener, event: Event, payload: dict[str, Any]) -> None:
        onset_s, now = listener.recorded_s(event.onset), clock.read()
        with self._lock:
            message = self._message("event", payload)
            self._events.append(message)
            # Others may hear so many in the meantime that it is no longer among the last of all.
            self._keep(listener, listener.recorded_s(event.offset), message)
            self._stretch(onset_s, now).counts[event.label] += 1

    def _on_respiration(self, listener: Listener, payload: dict[str, Any]) -> None:
        with self._lock:
            heard = self._heard[listener.name].messages
            self._keep(listener, heard[-1][0] if heard else 0.0, self._message("respiration", payload))

    def _keep(self, listener: Listener, end_s: float, message: Message) -> None:
        messages = self._heard[listener.name].messages
        messages.append((end_s, message))
        while end_s - messages[0][0] > SPAN_S:
            messages.popleft()

    def _message(self, kind: str, content: dict[str, Any]) -> Message:
        self._number += 1
        return Message(self._number, kind, content)

    def _stretch(self, at_s: float, now: Reading) -> _Stretch:
        """That of a monotonic time, by the time of day as it is set now."""
        minute = round((at_s - now.at(at_s).timestamp() % STRETCH_S) / 60)
        stretch = self._stretches.setdefault(minute, _Stretch())
        for old in [other for other in self._stretches if other <= minute - DAY_MINUTES]:
            del self._stretches[old]
        return stretch


def highest(scores: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """(frames, labels) to (ceil(frames / n), labels): of each n frames, and of what is left at the end, the highest."""
    return np.maximum.reduceat(scores, np.arange(0, len(scores), frames))
