"""Clips of events for operators who turned them on: which stretch of sound one is, and whether it may be kept.

Does: remembers a minute of sound and of speech scores of each listener in memory, cuts a clip around each event, and
lets it pass only if every frame of it has a speech score and none is above `clips.speech_score`. Does not: write files
(`edge.clip_store`). While clips are off none of this exists.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError
from edge.events import Event
from edge.hooks import Hooks
from edge.manifest import Manifest
from edge.sections import ClipSettings
from edge.sources.base import Block
from edge.track import TrackChunk

if TYPE_CHECKING:
    from edge.listener import Listener

SPEECH = "speech"
HELD_S = 60.0
"""How much is remembered, in seconds: an event is told some seconds after its end, and a clip goes on a bit longer."""

Verdict = Literal["kept", "speech", "unknown"]
"""unknown: some of its sound or of its speech scores is not there, so it may hold speech."""


@dataclass(frozen=True)
class Clip:
    """A stretch of sound that may be written: mono, at the source's rate."""

    event_id: str
    samples: NDArray[np.int16]
    """(samples,)."""
    sample_rate_hz: int


class ClipWriter(Protocol):
    """What brings clips to the disk."""

    written: int
    dropped: int

    def put(self, clip: Clip) -> None:
        """Write a clip in the background, or drop it; any thread, without waiting."""
        ...

    def close(self, timeout_s: float) -> None:
        """Write what waits, for so long at most."""
        ...


def require_speech_label(manifest: Manifest) -> int:
    """The column of the speech scores.

    Raises:
        ConfigError: the bundle knows no speech, or not under other sounds, so no clip could be kept free of it.
    """
    names = [label.name for label in manifest.labels]
    if SPEECH not in names:
        raise ConfigError(
            f"clips.enabled is true, but bundle {manifest.name} has no label {SPEECH}, so no clip can be kept free of "
            "it: set it to false or run another bundle"
        )
    column = names.index(SPEECH)
    if others := manifest.labels[column].masked_by:
        raise ConfigError(
            f"clips.enabled is true, but bundle {manifest.name} does not tell {SPEECH} under {', '.join(others)}, so "
            "no clip can be kept free of it: set it to false or run another bundle"
        )
    return column


class Clips:
    """The clips of all listeners of a run."""

    def __init__(self, settings: ClipSettings, manifest: Manifest, hooks: Hooks, writer: ClipWriter) -> None:
        """Hear what the listeners hear.

        Args:
            settings: lengths and the score above which there may be speech.
            manifest: of the bundle that runs.
            hooks: of the listeners, which have not been started.
            writer: takes the clips that may be kept.

        Raises:
            ConfigError: the bundle has no speech label.
        """
        self.counts: dict[Verdict, int] = {"kept": 0, "speech": 0, "unknown": 0}
        self._settings = settings
        self._column = require_speech_label(manifest)
        self._frame_samples = manifest.front_end.hop_samples
        self._rate_hz = manifest.front_end.sample_rate_hz
        self._writer = writer
        self._recorders: dict[str, ClipRecorder] = {}
        # The end does not wait for a listener that hangs, so it may come in the middle of that one's work.
        self._lock = threading.Lock()
        hooks.on_block.append(self._on_block)
        hooks.on_scores.append(self._on_scores)
        hooks.on_event.append(self._on_event)

    def summary(self) -> dict[str, int]:
        """Clips of this run: on disk, dropped for want of it, and withheld because they hold or may hold speech."""
        return {
            "written": self._writer.written,
            "dropped": self._writer.dropped,
            "speech": self.counts["speech"],
            "unknown": self.counts["unknown"],
        }

    def close(self, timeout_s: float) -> None:
        """All sound has ended: judge the clips that waited for more of it, and write what may be kept."""
        with self._lock:
            for recorder in self._recorders.values():
                self._take(recorder.close())
        self._writer.close(timeout_s)

    def _on_block(self, listener: Listener, block: Block) -> None:
        with self._lock:
            if listener.name not in self._recorders:
                self._recorders[listener.name] = ClipRecorder(
                    self._settings,
                    source_rate_hz=listener.source.sample_rate_hz,
                    rate_hz=self._rate_hz,
                    frame_samples=self._frame_samples,
                )
            self._recorders[listener.name].add_block(block)

    def _on_scores(self, listener: Listener, chunk: TrackChunk) -> None:
        with self._lock:
            recorder = self._recorders.get(listener.name)
            if recorder is not None:
                self._take(recorder.add_scores(chunk.start_frame, chunk.scores[:, self._column]))

    def _on_event(self, listener: Listener, event: Event, payload: dict[str, Any]) -> None:
        with self._lock:
            recorder = self._recorders.get(listener.name)
            if recorder is not None and event.label != SPEECH:
                recorder.add_event(payload["event_id"], event)

    def _take(self, judged: list[tuple[Verdict, Clip | None]]) -> None:
        for verdict, clip in judged:
            self.counts[verdict] += 1
            if clip is not None:
                self._writer.put(clip)


@dataclass(frozen=True)
class _Wanted:
    """A clip to be cut, in frames of the scores; `end` is exclusive."""

    event_id: str
    onset: int
    start: int
    end: int


class ClipRecorder:
    """One listener's memory, and the clips that wait for the end of their sound. Pure: no files, no clock.

    A clip reaches over no gap of the sound: it ends a frame before one, or begins a frame after one, since the frames
    after a gap lie up to half a frame beside their sound.
    """

    def __init__(self, settings: ClipSettings, *, source_rate_hz: int, rate_hz: int, frame_samples: int) -> None:
        """Nothing heard yet.

        Args:
            settings: lengths and the speech score.
            source_rate_hz: of the blocks.
            rate_hz: of event times.
            frame_samples: of one frame of the scores, at `rate_hz`.
        """
        self._settings = settings
        self._source_rate_hz = source_rate_hz
        self._rate_hz = rate_hz
        self._frame_samples = frame_samples
        self._frame_s = frame_samples / rate_hz
        self._sound: deque[tuple[int, NDArray[np.int16]]] = deque()
        self._speech: deque[tuple[int, NDArray[np.float32]]] = deque()
        self._waiting: list[_Wanted] = []

    def add_block(self, block: Block) -> None:
        """Remember sound; its position is an absolute index at the source's rate."""
        mono = block.samples.mean(axis=1)
        samples = np.round(np.clip(mono, -1.0, 1.0) * 32767).astype(np.int16)
        _remember(self._sound, block.position, samples, round(HELD_S * self._source_rate_hz))

    def add_scores(self, start_frame: int, speech: NDArray[np.float32]) -> list[tuple[Verdict, Clip | None]]:
        """Remember speech scores (frames,), and judge the clips that they complete."""
        _remember(self._speech, start_frame, speech, round(HELD_S / self._frame_s))
        reached = start_frame + len(speech)
        due = [wanted for wanted in self._waiting if wanted.end <= reached]
        self._waiting = [wanted for wanted in self._waiting if wanted.end > reached]
        return [self._judge(wanted) for wanted in due]

    def add_event(self, event_id: str, event: Event) -> None:
        """Want a clip of this event once its speech scores have come."""
        onset = event.onset // self._frame_samples
        start = onset - round(self._settings.pre_roll_s / self._frame_s)
        end = -(-event.offset // self._frame_samples) + round(self._settings.post_roll_s / self._frame_s)
        self._waiting.append(_Wanted(event_id, onset, start, end))

    def close(self) -> list[tuple[Verdict, Clip | None]]:
        """The sound has ended: judge what waits."""
        due, self._waiting = self._waiting, []
        return [self._judge(wanted) for wanted in due]

    def _judge(self, wanted: _Wanted) -> tuple[Verdict, Clip | None]:
        samples = self._cut(wanted)
        if samples is None:
            return "unknown", None
        start, sound = samples
        speech = _between(self._speech, self._frame(start), self._frame(start + len(sound) - 1) + 1)
        if speech is None or not np.isfinite(speech).all():
            return "unknown", None
        if speech.max() > self._settings.speech_score:
            return "speech", None
        return "kept", Clip(wanted.event_id, sound, self._source_rate_hz)

    def _cut(self, wanted: _Wanted) -> tuple[int, NDArray[np.int16]] | None:
        """Where the clip starts, at the source's rate, and its sound; None where the event's own sound is not held."""
        onset = self._position(wanted.onset)
        held = _stretch(self._sound, onset)
        if held is None:
            return None
        margin = self._position(1)
        start, end = self._position(wanted.start), self._position(wanted.end)
        if start < held[0]:
            start = min(held[0] + margin, onset)
        if end > held[1]:
            end = held[1] - margin
        sound = _between(self._sound, start, end)
        return None if sound is None or end <= onset else (start, sound)

    def _position(self, frame: int) -> int:
        """The first sample of a frame, at the source's rate."""
        return -(-frame * self._frame_samples * self._source_rate_hz // self._rate_hz)

    def _frame(self, position: int) -> int:
        """The frame in which a sample lies."""
        return position * self._rate_hz // (self._frame_samples * self._source_rate_hz)


_Held = deque[tuple[int, NDArray[Any]]]


def _remember(held: _Held, start: int, values: NDArray[Any], limit: int) -> None:
    """Add values, the first of absolute index `start`, and forget those more than `limit` before the newest."""
    if len(values) == 0:
        return
    held.append((start, values))
    while held[0][0] + len(held[0][1]) <= start + len(values) - limit:
        held.popleft()


def _stretch(held: _Held, index: int) -> tuple[int, int] | None:
    """First index, and one past the last, of what is held without a gap around an index."""
    begin = end = None
    for start, values in held:
        if end != start:
            if end is not None and begin is not None and begin <= index < end:
                break
            begin = start
        end = start + len(values)
    if begin is None or end is None or not begin <= index < end:
        return None
    return begin, end


def _between(held: _Held, start: int, end: int) -> NDArray[Any] | None:
    """The values start..end (exclusive); None if one of them is not held."""
    overlapping = [(first, values) for first, values in held if first < end and first + len(values) > start]
    parts = [values[max(0, start - first) : end - first] for first, values in overlapping]
    whole = np.concatenate(parts) if parts else np.empty(0)
    return whole if end > start and len(whole) == end - start else None
