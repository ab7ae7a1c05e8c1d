"""Events over many tracks at many operating points: a fast form of `edge.events.segment` for the search of points.

The tracks are laid end to end with silence between, so that a point costs a few passes over arrays, and what two points
share is computed once: the runs above `off`, and the pieces, which depend on thresholds and merge gap but not on the
two times that drop pieces afterwards. It gives the very onsets that `segment` gives; the device runs `segment`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edge.bundle import OperatingPoint
from edge.events import REGION_LIMIT_S, segment
from edge.matching import EventCounts, count_pairs

SILENCE_S = 5.0
"""Between two tracks: longer than a merge gap, a refractory time and the tolerance of the matching, so nothing of one
track can touch the next."""

KEPT_IN_MEMORY = 256
"""Sets of pieces; those of one threshold and all its companions are a hundred."""


class PooledTracks:
    """Scores of one label over recordings or scenes, and the onsets of its events in them."""

    def __init__(
        self,
        tracks: Sequence[NDArray[np.float32]],
        onsets_s: Sequence[Sequence[float]],
        frame_s: float,
        least_on: float,
    ) -> None:
        """Lay them end to end.

        Args:
            tracks: (frames,) scores each.
            onsets_s: of each track's events, seconds from its start.
            frame_s: seconds of a frame.
            least_on: the lowest `on` that will be asked for.
        """
        self._frame_s = frame_s
        silence = np.zeros(round(SILENCE_S / frame_s))
        starts = np.cumsum([len(silence), *(len(track) + len(silence) for track in tracks)])
        self._scores = np.concatenate([silence, *(part for track in tracks for part in (track, silence))])
        self._reference_s = sorted(
            start * frame_s + onset
            for start, onsets in zip(starts.tolist(), onsets_s, strict=False)
            for onset in onsets
        )
        # A score splits a region or raises its peak at a local maximum or nowhere: only these need to be looked at.
        falls, rises = np.flatnonzero(self._scores[:-1] > self._scores[1:]), self._scores[1:] >= self._scores[:-1]
        falls = falls[self._scores[falls] >= least_on]
        self._maxima = falls[rises[falls - 1]]
        self._heights = self._scores[self._maxima]
        self._valleys = np.minimum.reduceat(self._scores, self._maxima) if len(self._maxima) else self._heights
        self._runs = lru_cache(KEPT_IN_MEMORY)(self._find_runs)
        self._pieces = lru_cache(KEPT_IN_MEMORY)(self._find_pieces)

    def count(self, point: OperatingPoint) -> EventCounts:
        """Hits, false alarms and misses over all tracks, onsets matched one to one within 0.30 s."""
        onsets, offsets = self._pieces(point.on, point.off, point.merge_gap_s, point.split_depth)
        kept = onsets[offsets - onsets >= round(point.minimum_duration_s / self._frame_s)]
        if refractory := round(point.refractory_s / self._frame_s):
            kept = _apart(kept, refractory)
        detected_s = (kept * self._frame_s).tolist()
        tp = count_pairs(self._reference_s, detected_s)
        return EventCounts(tp, len(detected_s) - tp, len(self._reference_s) - tp)

    def _find_runs(self, off: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """First frames and frames after the last of what is unbroken at `off` or above."""
        edges = np.flatnonzero(np.diff(self._scores >= off)) + 1
        return edges[::2], edges[1::2]

    def _find_pieces(
        self, on: float, off: float, merge_gap_s: float, split_depth: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Onsets and offsets (exclusive), in frames, of all pieces, whatever their length."""
        starts, stops = self._runs(off)
        strong = np.flatnonzero(self._heights >= on)
        if not len(strong):
            return strong, strong
        apart = starts[1:] - stops[:-1] > round(merge_gap_s / self._frame_s)
        group_of_run = np.concatenate([[0], np.cumsum(apart)])
        run = np.searchsorted(starts, self._maxima[strong], side="right") - 1
        groups, firsts = np.unique(group_of_run[run], return_index=True)
        lasts = np.append(firsts[1:], len(strong))
        group_starts = starts[np.searchsorted(group_of_run, groups)]
        onsets = starts[run[firsts]]
        offsets = stops[np.searchsorted(group_of_run, groups, side="right") - 1]
        long = offsets - onsets > round(REGION_LIMIT_S / self._frame_s)
        split = np.zeros(len(groups), dtype=bool)
        keep = 1.0 - split_depth if split_depth > 0 else 0.0
        if keep:
            lowest = np.minimum.reduceat(self._scores_between(strong), firsts)
            split = (lasts - firsts > 1) & ~long & (lowest < keep * np.maximum.reduceat(self._heights[strong], firsts))
        plain = ~long & ~split
        found = [np.stack([onsets[plain], offsets[plain]], axis=1)]
        for place in np.flatnonzero(split).tolist():
            chosen = strong[firsts[place] : lasts[place]]
            found.append(self._split(chosen, int(onsets[place]), int(offsets[place]), off, keep))
        if long.any():
            point = OperatingPoint(
                on=on, off=off, merge_gap_s=merge_gap_s, split_depth=split_depth, minimum_duration_s=0, refractory_s=0
            )
            for start, stop in zip(group_starts[long].tolist(), offsets[long].tolist(), strict=True):
                spans = segment(self._scores[start:stop], point, self._frame_s)
                found.append(np.array([(start + onset, start + offset) for onset, offset, _ in spans]).reshape(-1, 2))
        pieces = np.concatenate(found).astype(np.int64)
        pieces = pieces[np.argsort(pieces[:, 0], kind="stable")]
        return pieces[:, 0], pieces[:, 1]

    def _scores_between(self, strong: NDArray[np.int64]) -> NDArray[np.float64]:
        """Lowest score from each strong maximum to the next."""
        return np.asarray(np.minimum.reduceat(self._valleys, strong))

    def _split(self, strong: NDArray[np.int64], onset: int, offset: int, off: float, keep: float) -> NDArray[np.int64]:
        """Pieces (n, 2) of one region with the given maxima; see rule 2 of `edge.events`."""
        scores = self._scores
        starts, stops = self._runs(off)
        positions, heights = self._maxima[strong].tolist(), self._heights[strong].tolist()
        between = self._scores_between(strong).tolist()
        begins, ends, tops = [onset], list[int](), list[float]()
        peak, top, valley = positions[0], heights[0], np.inf
        for position, height, lowest in zip(positions[1:], heights[1:], between, strict=False):
            valley = min(valley, lowest)
            if valley < keep * min(top, height):
                at = peak + int(np.argmin(scores[peak : position + 1]))
                ends.append(min(int(stops[np.searchsorted(starts, at) - 1]), at))
                tops.append(top)
                begins.append(at)
                peak, top, valley = position, height, np.inf
            elif height > top:
                peak, top, valley = position, height, np.inf
        ends.append(offset)
        tops.append(top)
        for index, at in enumerate(begins[1:], start=1):
            threshold = max(off, (float(scores[at]) + tops[index]) / 2)
            begins[index] = at + int(np.argmax(scores[at:offset] >= threshold))
        return np.stack([begins, ends], axis=1)


def _apart(onsets: NDArray[np.int64], refractory: int) -> NDArray[np.int64]:
    """Onsets without those that follow the last kept one within the refractory time, in frames."""
    kept: list[int] = []
    for onset in onsets.tolist():
        if not kept or onset - kept[-1] >= refractory:
            kept.append(onset)
    return np.array(kept, dtype=np.int64)
