"""One source from its sound to its events, in two threads: one reads, one analyses.

Does: reads blocks into a bounded backlog, analyses them, gives each event to the journal, and knows how far it has come
and what troubles it. Does not: open the source, store events, or decide when to end (`edge.listeners` does).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Literal

import structlog

from edge import clock
from edge.analysis import Analysed
from edge.backlog import Arrival, Backlog
from edge.cardclock import CardClock
from edge.clock import Anchor, Reading
from edge.config import Settings
from edge.errors import UserError
from edge.events import Event
from edge.hooks import Hooks
from edge.pacing import Pacing
from edge.pipeline import Model, SourceAnalyzer
from edge.sources.base import Source
from edge.track import TrackChunk

log = structlog.get_logger()

_LAG_S = 5.0
"""What the analysis may be behind before the status tells it: half of what sound may wait."""
_BREAK_S = 2.0
"""A source that is in trouble and gave nothing for so long will not complete the last window soon."""
_STUCK_S = 30.0
"""A block is analysed in a fraction of a second; after so long the analysis counts as stuck."""
_TELL_DROPPED_S = 60.0
"""For how long the status tells that sound was dropped, and how long the log waits before it tells of more."""

Pace = Literal["live", "realtime", "fast"]
"""live: sound comes as it happens and does not wait; realtime: it comes so, but waits; fast: it was recorded before."""


class Listener:
    """Owns one source from `start` on, and the threads that hear it."""

    def __init__(
        self,
        name: str,
        source: Source,
        model: Model,
        settings: Settings,
        *,
        pace: Pace,
        keep: Callable[[Listener, Event], None],
        hooks: Hooks,
    ) -> None:
        """Nothing is read before `start`.

        Args:
            name: the `source` of its events, unique in this run.
            source: what is heard.
            model: what hears it.
            settings: windows and thresholds are used.
            pace: how its sound comes; that of a live source is dropped when the analysis falls behind.
            keep: takes each event, in the analysing thread.
            hooks: told of blocks, windows and scores.
        """
        self.name = name
        self.source = source
        self.pace: Pace = pace
        self.error: Exception | None = None
        """What ended it before its time."""
        self.last_audio_at: datetime | None = None
        self.last_inference_at: datetime | None = None
        self.backlog = Backlog(may_drop=pace == "live")
        self.pacing = Pacing(model.widest(settings) if pace == "live" else 1)
        """How far apart windows are; a source that waits keeps the configured hop, so that `replay` hears the same."""
        self.analyzer = SourceAnalyzer(model, settings, source)
        self.analyzer.on_window = self._on_window
        self.analyzer.on_scores = self._on_scores
        self.card = CardClock(time.monotonic(), is_live=pace == "live")
        """When each sample was recorded. A file that is read fast counts as recorded from now on."""
        self.settled_s = time.monotonic()
        """No event that is still to come was recorded before this time of the monotonic clock."""
        self._in_hand_since: float | None = None
        self._in_hand_at_s: float | None = None
        self._heard_at = time.monotonic()
        self._dropped_s = 0.0
        self._dropped_at: float | None = None
        self._logged_dropped_s, self._log_dropped_at = 0.0, -math.inf
        self._keep = keep
        self._hooks = hooks
        self._reading = threading.Thread(target=self._read, name=f"read {name}", daemon=True)
        self._analysing = threading.Thread(target=self._analyse, name=f"analyse {name}", daemon=True)

    @property
    def model(self) -> Model:
        """What hears the source now."""
        return self.analyzer.model

    def recorded_s(self, index: int) -> float:
        """When a sample (absolute index at the bundle's rate) was recorded, in seconds of the monotonic clock."""
        return self.card.recorded_s(index / self.model.sample_rate_hz)

    def anchor(self, index: int, now: Reading) -> Anchor:
        """UTC of a sample and those near it, by the clock as it is set now."""
        return Anchor(now.at(self.recorded_s(index)), index, self.model.sample_rate_hz, now.synchronised)

    @property
    def is_done(self) -> bool:
        """It has heard all that it will ever hear."""
        return not self._analysing.is_alive()

    @property
    def is_idle(self) -> bool:
        """It has analysed all that has come in."""
        return self._in_hand_since is None and self.backlog.waiting_s == 0

    @property
    def trouble(self) -> str:
        """Why it does not hear, or not all; empty while all is well. Without figures, which would change at once."""
        if self.error is not None:
            return str(self.error)
        if self.source.trouble or self.pace == "fast":
            return self.source.trouble
        if self._dropped_at is not None and time.monotonic() - self._dropped_at < _TELL_DROPPED_S:
            return "analysis cannot keep up: sound was dropped"
        if self.pacing.times > 1:
            return f"analysis falls behind: windows {self.pacing.times} times as far apart"
        return "analysis falls behind" if self.lag_s > _LAG_S else ""

    @property
    def lag_s(self) -> float:
        """How far the analysis is behind the sound: for how long the oldest that is not analysed has been here."""
        oldest_at_s = self._in_hand_at_s
        if oldest_at_s is None:
            oldest_at_s = self.backlog.oldest_at_s
        return 0.0 if oldest_at_s is None else time.monotonic() - oldest_at_s

    def stuck(self, silence_s: float) -> str:
        """Why it neither hears nor knows that it does not; empty while it is alive.

        A live source that tells its trouble is started anew by whoever tells it; one that is silent for longer than
        `silence_s` without a word is not, nor is any other, whatever it tells.
        """
        if self.is_done:
            return ""
        now = time.monotonic()
        if self._in_hand_since is not None:
            return "the analysis does not go on" if now - self._in_hand_since > _STUCK_S else ""
        is_looked_after = self.pace == "live" and bool(self.source.trouble)
        if not self._reading.is_alive() or is_looked_after or self.backlog.waiting_s:
            return ""
        return "the source has fallen silent" if now - self._heard_at > silence_s else ""

    def start(self) -> None:
        """Begin to listen."""
        self._heard_at = time.monotonic()
        self._analysing.start()
        self._reading.start()

    def stop(self) -> None:
        """Close the source; what has been read is still analysed."""
        self.source.close()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until it is done, or for so long."""
        self._analysing.join(timeout_s)

    def _read(self) -> None:
        end = 0
        try:
            for block in self.source.blocks():
                now_s = self._heard_at = time.monotonic()
                self.last_audio_at = clock.utc_now()
                after_gap = block.position != end
                end = block.position + len(block.samples)
                if self.pace != "fast":
                    self.card.note(end / self.source.sample_rate_hz, now_s, after_gap=after_gap)
                self.backlog.put(block, self.source.sample_rate_hz, now_s)
        except Exception as error:
            self._fail(error)
        finally:
            self.backlog.end()

    def _analyse(self) -> None:
        try:
            while (arrival := self._next()) is not None:
                self._in_hand_at_s, self._in_hand_since = arrival.at_s, time.monotonic()
                self._adapt(self._in_hand_since - arrival.at_s, self._in_hand_since)
                self._hooks.block(self, arrival.block)
                self._keep_all(self.analyzer.push(arrival.block))
                self.settled_s = self.recorded_s(self.analyzer.settled)
                self._in_hand_at_s = self._in_hand_since = None
            self._finish_stretch()
        except Exception as error:
            self._in_hand_at_s = self._in_hand_since = None
            self._fail(error)
            try:
                self.source.close()
            finally:
                while self.backlog.take() is not None:  # the reader may wait for room
                    pass

    def _next(self) -> Arrival | None:
        """The next block. While a source that is in trouble gives none, what it gave before is heard to its end."""
        while not self.backlog.wait(_BREAK_S):
            if self.source.trouble:
                self._finish_stretch()
        return self.backlog.take()

    def _finish_stretch(self) -> None:
        self._keep_all(self.analyzer.flush())
        self.settled_s = self.recorded_s(self.analyzer.settled)

    def _adapt(self, lag_s: float, now_s: float) -> None:
        """Widen or narrow the hop by how long the sound has waited, and tell what was dropped."""
        before = self.pacing.times
        times = self.pacing.update(lag_s, now_s)
        if times != before:
            self.analyzer.widen(times)
            log.warning("hop_changed", source=self.name, times=times, lag_s=round(lag_s, 1))
        dropped_s = self.backlog.dropped_s
        if dropped_s > self._dropped_s:
            self._dropped_s, self._dropped_at = dropped_s, now_s
        if dropped_s > self._logged_dropped_s and now_s >= self._log_dropped_at:
            self._logged_dropped_s, self._log_dropped_at = dropped_s, now_s + _TELL_DROPPED_S
            action = "lighten the load of this machine, or set a wider windows.hop_s"
            log.warning("sound_dropped", source=self.name, since_start_s=round(dropped_s, 1), action=action)

    def _keep_all(self, events: list[Event]) -> None:
        for event in events:
            self._keep(self, event)

    def _on_window(self, analysed: Analysed) -> None:
        self.last_inference_at = clock.utc_now()
        self._hooks.window(self, analysed)

    def _on_scores(self, chunk: TrackChunk) -> None:
        self._hooks.scores(self, chunk)

    def _fail(self, error: Exception) -> None:
        self.error = self.error or error
        if isinstance(error, UserError):
            log.warning("source_unusable", source=self.name, reason=str(error))
        else:
            log.error("listener_failed", source=self.name, reason=repr(error), action="report this", exc_info=error)
