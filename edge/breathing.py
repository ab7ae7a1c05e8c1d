"""The breathing rate of every source, as the daemon tells it.

Does: follows each listener's sound by its hooks, through gaps and changes of the bundle, passes every reading on to
those who want it, and keeps the clearest for the minute's report. Does not: find the rate (`edge.respiration` does).

A bundle for contact audio is read by the levels of its sound, one for airborne sound by the scores of its label
`breath`, where that is asked for; an airborne bundle without that label says nothing of breathing. No people with a
known rate were heard through the air: a score that rises with every breath in and every breath out tells twice the
rate, and nothing here notices.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from edge import clock
from edge.payloads import respiration_payload
from edge.resample import StreamResampler
from edge.respiration import (
    BANDS,
    NO_BREATH,
    SCORE,
    BandLevels,
    Kind,
    Reading,
    Respiration,
    RespirationMeter,
    Rows,
    ScoreLevels,
)

if TYPE_CHECKING:
    from edge.hooks import Hooks
    from edge.listener import Listener
    from edge.manifest import Manifest
    from edge.sources.base import Block
    from edge.track import TrackChunk

LABEL = "breath"
LEVEL_RATE_HZ = 4000
"""The rate at which the constants of `edge.respiration` were tried; more would add nothing above the highest band."""


class Breathing:
    """One for all listeners; they call from their own threads."""

    def __init__(self, hooks: Hooks, *, airborne: bool) -> None:
        """Register with the hooks, which pass the readings on as well.

        airborne: follow airborne sound as well as contact audio.
        """
        self._airborne = airborne
        self._hooks = hooks
        self._followers: dict[str, _Follower] = {}
        self._clearest: dict[str, Respiration] = {}
        self._lock = threading.Lock()
        hooks.on_block.append(self.on_block)
        hooks.on_scores.append(self.on_scores)

    def on_block(self, listener: Listener, block: Block) -> None:
        """Contact audio."""
        if (follower := self._follower(listener)).hears_levels:
            self._tell(listener, follower.levels(block))

    def on_scores(self, listener: Listener, chunk: TrackChunk) -> None:
        """Scores of airborne sound."""
        if (follower := self._follower(listener)).column is not None:
            self._tell(listener, follower.scores(chunk))

    def take(self, name: str) -> Respiration:
        """The clearest reading of a listener since this was last asked."""
        with self._lock:
            return self._clearest.pop(name, NO_BREATH)

    def _follower(self, listener: Listener) -> _Follower:
        follower = self._followers.get(listener.name)
        if follower is None or follower.manifest is not listener.model.bundle.manifest:
            follower = _Follower(listener, airborne=self._airborne)
            self._followers[listener.name] = follower
        return follower

    def _tell(self, listener: Listener, readings: Iterable[Reading]) -> None:
        for reading in readings:
            end = round(reading.end_s * listener.model.sample_rate_hz)
            at = listener.anchor(end, clock.read()).at(end)
            payload = respiration_payload(reading.respiration, at, source=listener.name, bundle=listener.model.name)
            with self._lock:
                best = self._clearest.get(listener.name, NO_BREATH)
                self._clearest[listener.name] = max(best, reading.respiration, key=lambda one: one.quality)
            self._hooks.respiration(listener, payload)


class _Follower:
    """One listener's sound from one gap to the next; times are seconds from the source's position 0."""

    def __init__(self, listener: Listener, *, airborne: bool) -> None:
        self.manifest: Manifest = listener.model.bundle.manifest
        names = [label.name for label in self.manifest.labels]
        self.hears_levels = self.manifest.modality == "contact"
        follows_scores = airborne and not self.hears_levels and LABEL in names
        self.column = names.index(LABEL) if follows_scores else None
        self._source = listener.source
        self._frames_per_s = self.manifest.front_end.sample_rate_hz / self.manifest.front_end.hop_samples
        self._expected: int | None = None
        self._begun_s = 0.0
        self._levels: BandLevels
        self._scores: ScoreLevels
        self._meter: RespirationMeter

    def levels(self, block: Block) -> list[Reading]:
        if block.position != self._expected:
            self._begin(block.position / self._source.sample_rate_hz, BANDS)
            self._levels = BandLevels(LEVEL_RATE_HZ)
            self._resampler = StreamResampler(self._source.sample_rate_hz, LEVEL_RATE_HZ, self._source.channels)
        self._expected = block.position + len(block.samples)
        return self._read(self._levels.push(self._resampler.push(block.samples)))

    def scores(self, chunk: TrackChunk) -> list[Reading]:
        if len(chunk.scores) == 0:
            return []
        if chunk.start_frame != self._expected:
            self._begin(chunk.start_frame / self._frames_per_s, SCORE)
            self._scores = ScoreLevels(self._frames_per_s)
        self._expected = chunk.start_frame + len(chunk.scores)
        return self._read(self._scores.push(chunk.scores[:, self.column]))

    def _begin(self, at_s: float, kind: Kind) -> None:
        self._begun_s = at_s
        self._meter = RespirationMeter(kind)

    def _read(self, rows: Rows) -> list[Reading]:
        return [Reading(self._begun_s + one.end_s, one.respiration) for one in self._meter.push(rows)]
