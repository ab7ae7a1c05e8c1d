"""Scores to events: hysteresis, peak splitting, minimum duration, refractory time. Pure and one stream at a time.

Two forms of one rule: `segment` over a complete track (tuning, scoring, and the reference in the tests) and
`EventDetector` over a growing one (the device). They give the same events for any chunking. Per label:

1. A region opens at a score >= `on` and extends back over the frames >= `off` just before it. It closes once the score
   stayed below `off` for longer than the merge gap; it ends after its last frame >= `off`.
2. Inside a region, a rise to a new peak >= `on` starts a new piece where the valley since the last peak fell below
   (1 - split_depth) * min(both peaks). The earlier piece ends at the valley's first minimum (or at its last frame
   >= `off`, when that is earlier); the later one begins where the score first reaches half-way from valley to its peak,
   and `off`. A split depth of 0 never splits.
3. A piece shorter than the minimum duration is dropped.
4. A piece whose onset lies within the refractory time of the last kept onset extends that event.

A region is closed `REGION_LIMIT_S` after it opened and reaches back no further than that, so memory and delay are
bounded whatever the scores do. Scores must be finite. Times are frames inside, sample indices (Python int) in `Event`.
It does not know wall-clock time, MQTT or how the scores came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.manifest import Label, OperatingPoint
from edge.track import TrackChunk

# Longer than any bout seen in a cough recording; a stuck detector reports every half minute rather than never.
REGION_LIMIT_S = 30.0

Span = tuple[int, int, float]
"""First frame, frame after the last, peak score."""


@dataclass(frozen=True)
class Event:
    """One sound. `onset` and `offset` (exclusive): sample indices at the bundle's rate; `score`: its peak, 0..1."""

    label: str
    onset: int
    offset: int
    score: float


@dataclass(frozen=True)
class _Rule:
    """An operating point in frames."""

    on: float
    off: float
    keep: float  # a valley below keep * the lower peak splits; 0 never does, scores are not negative
    minimum: int
    gap: int
    refractory: int
    limit: int

    @classmethod
    def of(cls, point: OperatingPoint, frame_s: float) -> _Rule:
        return cls(
            on=point.on,
            off=point.off,
            keep=1.0 - point.split_depth if point.split_depth > 0 else 0.0,
            minimum=round(point.minimum_duration_s / frame_s),
            gap=round(point.merge_gap_s / frame_s),
            refractory=round(point.refractory_s / frame_s),
            limit=round(REGION_LIMIT_S / frame_s),
        )


def segment(scores_1d: ArrayLike, point: OperatingPoint, frame_s: float) -> list[Span]:
    """Events of one label over a complete track.

    scores_1d: (frames,) finite scores in 0..1, one per `frame_s` seconds. Returns (onset frame, offset frame exclusive,
    peak score) in order of onset.
    """
    rule = _Rule.of(point, frame_s)
    # float64, so that a float32 score meets the thresholds exactly as in the streaming form.
    scores = np.asarray(scores_1d, dtype=np.float64)
    active, strong = np.flatnonzero(scores >= rule.off), np.flatnonzero(scores >= rule.on)
    events: list[Span] = []
    position = 0  # the first frame that no earlier region used
    while (nth := int(np.searchsorted(strong, position))) < len(strong):
        opened = int(strong[nth])
        below = np.flatnonzero(scores[position:opened] < rule.off)
        onset = max(position + int(below[-1]) + 1 if len(below) else position, opened - rule.limit)
        held = active[np.searchsorted(active, opened) : np.searchsorted(active, opened + rule.limit)]
        breaks = np.flatnonzero(np.diff(held) - 1 > rule.gap)
        last = int(held[breaks[0]] if len(breaks) else held[-1])
        for span in _pieces(scores[opened : last + 1], onset - opened, rule):
            _keep(events, (span[0] + opened, span[1] + opened, span[2]), rule)
        position = last + 1
    return events


def _pieces(region: NDArray[np.float64], onset: int, rule: _Rule) -> list[Span]:
    """Split one region at its deep valleys. Frames count from the region's opening; `onset` is 0 or negative."""
    pieces: list[Span] = []
    peak = 0
    for frame in np.flatnonzero(region >= rule.on)[1:].tolist():
        valley = peak + int(np.argmin(region[peak : frame + 1]))
        if region[valley] < rule.keep * min(region[peak], region[frame]):
            offset = int(np.flatnonzero(region[:valley] >= rule.off)[-1]) + 1
            pieces.append((onset, offset, float(region[peak])))
            # The later piece's own peak is known at its end only; until then its onset stands at the valley.
            onset, peak = valley, frame
        elif region[frame] > region[peak]:
            peak = frame
    pieces.append((onset, len(region), float(region[peak])))
    for index, (valley, offset, top) in enumerate(pieces[1:], start=1):
        rise = int(np.argmax(region[valley:] >= max(rule.off, (region[valley] + top) / 2)))
        pieces[index] = (valley + rise, offset, top)
    return pieces


def _keep(events: list[Span], piece: Span, rule: _Rule) -> None:
    """Append a piece to the kept events, or drop it, or let it extend the last one."""
    if piece[1] - piece[0] < rule.minimum:
        return
    if events and piece[0] - events[-1][0] < rule.refractory:
        onset, offset, peak = events[-1]
        events[-1] = (onset, max(offset, piece[1]), max(peak, piece[2]))
    else:
        events.append(piece)


@dataclass
class _Region:
    """An open region: its current piece, and the valley since that piece's peak."""

    opened: int
    onset: int  # of the current piece; for a later piece the frame of its valley
    split: bool  # the current piece began at a valley
    peak: float
    valley: float
    valley_at: int
    valley_end: int  # where the current piece ends if it is cut at this valley
    last_active: int
    scores: list[float] = field(default_factory=list)  # since `opened`, at most REGION_LIMIT_S of them

    def piece(self, offset: int, off: float) -> Span:
        """The current piece, ended at frame `offset`."""
        if not self.split:
            return self.onset, offset, self.peak
        start = self.onset - self.opened
        # Above the peak, `off` would be reached nowhere: it has been raised since the region opened.
        threshold = max(min(off, self.peak), (self.scores[start] + self.peak) / 2)
        while self.scores[start] < threshold:
            start += 1
        return self.opened + start, offset, self.peak


class _LabelDetector:
    """`segment` for one label over a growing track."""

    def __init__(self, rule: _Rule) -> None:
        self._rule = rule
        self._region: _Region | None = None
        self._run: int | None = None  # first frame of the unbroken run >= off that led here, while no region is open
        self._kept: list[Span] = []  # finished events; the last may still be extended

    def change(self, rule: _Rule) -> None:
        """Go on by another rule."""
        self._rule = rule

    def push(self, start_frame: int, scores: NDArray[np.float32]) -> list[Span]:
        """Take the next frames; return the events that nothing later can change."""
        if self._region is None and not (scores >= self._rule.off).any():
            self._run = None  # the common case, silence, costs no loop
        else:
            for frame, score in enumerate(scores.tolist(), start=start_frame):
                if self._region is None:
                    self._wait(frame, score)
                else:
                    self._follow(self._region, frame, score)
        return self._release(start_frame + len(scores))

    def settled(self, next_frame: int) -> int:
        """No event that is still to come begins before this frame; `next_frame` is the first not yet taken."""
        if self._kept:
            return self._kept[0][0]
        if self._region is not None:
            return self._region.onset
        return next_frame if self._run is None else max(self._run, next_frame - self._rule.limit)

    def flush(self) -> list[Span]:
        """End of the track: close what is open and return all that is left."""
        if self._region is not None:
            self._close(self._region)
        self._run = None
        done, self._kept = self._kept, []
        return done

    def _wait(self, frame: int, score: float) -> None:
        rule = self._rule
        if score < rule.off:
            self._run = None
            return
        if self._run is None:
            self._run = frame
        if score >= rule.on:
            onset = max(self._run, frame - rule.limit)
            self._region = _Region(frame, onset, False, score, score, frame, frame, frame, [score])
            self._run = None

    def _follow(self, region: _Region, frame: int, score: float) -> None:
        rule = self._rule
        if frame - region.opened >= rule.limit:
            self._close(region)
            self._wait(frame, score)
            return
        region.scores.append(score)
        if score < region.valley:
            region.valley, region.valley_at, region.valley_end = score, frame, region.last_active + 1
        if score >= rule.off:
            region.last_active = frame
        elif frame - region.last_active > rule.gap:
            self._close(region)
            return
        if score < rule.on:
            return
        if region.valley < rule.keep * min(region.peak, score):
            _keep(self._kept, region.piece(region.valley_end, rule.off), rule)
            region.onset, region.split = region.valley_at, True
            region.peak = region.valley = score
        elif score > region.peak:
            region.peak = region.valley = score

    def _close(self, region: _Region) -> None:
        _keep(self._kept, region.piece(region.last_active + 1, self._rule.off), self._rule)
        self._region = None

    def _release(self, next_frame: int) -> list[Span]:
        """Hand out the kept events, less the last one while a later onset could still fall into its refractory time."""
        if not self._kept:
            return []
        region = self._region
        earliest = region.onset if region else next_frame if self._run is None else self._run
        count = len(self._kept) - (earliest - self._kept[-1][0] < self._rule.refractory)
        done, self._kept = self._kept[:count], self._kept[count:]
        return done


class EventDetector:
    """All labels of one stream. Feed it the track's chunks in order; gives what `segment` gives on the whole track."""

    def __init__(self, labels: Sequence[Label], frame_samples: int, sample_rate_hz: int) -> None:
        """`labels` in the order of the scores' columns; a frame of the track is `frame_samples` long."""
        self._names = [label.name for label in labels]
        self._frame_samples = frame_samples
        self._frame_s = frame_samples / sample_rate_hz
        self._detectors = [_LabelDetector(_Rule.of(label.operating_point, self._frame_s)) for label in labels]
        self._next_frame: int | None = None

    def change(self, labels: Sequence[Label]) -> None:
        """Go on with other operating points of the same labels; an event that is open ends by the new one."""
        for detector, label in zip(self._detectors, labels, strict=True):
            detector.change(_Rule.of(label.operating_point, self._frame_s))

    def push(self, chunk: TrackChunk) -> list[Event]:
        """Take the next chunk (scores (frames, labels)); return the events that became final, by onset.

        Raises ValueError when the chunk does not follow the one before: a gap needs a flush and a new detector.
        """
        if self._next_frame not in (None, chunk.start_frame):
            raise ValueError(f"chunk starts at frame {chunk.start_frame}, expected {self._next_frame}")
        self._next_frame = chunk.start_frame + len(chunk.scores)
        return self._events([d.push(chunk.start_frame, chunk.scores[:, i]) for i, d in enumerate(self._detectors)])

    @property
    def settled(self) -> int | None:
        """No event that is still to come begins before this sample; None before the first chunk."""
        if self._next_frame is None:
            return None
        return min(detector.settled(self._next_frame) for detector in self._detectors) * self._frame_samples

    def flush(self) -> list[Event]:
        """End of the stream: the events that were still open, by onset."""
        return self._events([detector.flush() for detector in self._detectors])

    def _events(self, spans_per_label: list[list[Span]]) -> list[Event]:
        events = [
            Event(name, onset * self._frame_samples, offset * self._frame_samples, score)
            for name, spans in zip(self._names, spans_per_label, strict=True)
            for onset, offset, score in spans
        ]
        return sorted(events, key=lambda event: event.onset)
