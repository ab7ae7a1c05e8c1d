"""One stream of sound to events: resample, cut, infer, fuse, segment. No input or output but the backend."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend, Output
from edge.bundle import Bundle
from edge.errors import ConfigError
from edge.events import Event, EventDetector
from edge.manifest import Label, Manifest
from edge.resample import StreamResampler
from edge.track import ScoreTrack, TrackChunk
from edge.windows import Window, Windower


@dataclass(frozen=True)
class Analysed:
    """One window and what the model says of it."""

    start: int
    """Absolute sample index of its first sample, at the bundle's rate."""
    valid: int
    """Samples of it that were heard; the others are padding at the end of a stream."""
    latency_s: float
    """Seconds that the model took, waiting for its turn included."""
    output: Output


class Analyzer:
    """Push sound in blocks of any size, take events out; the events do not depend on the sizes.

    Event times are sample indices at `sample_rate_hz`, the bundle's rate, with `start_index` at the first sample
    pushed. A gap in the sound ends a stream: flush, and go on with a new analyzer (`edge.pipeline` does).
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        *,
        input_rate_hz: int,
        channels: int,
        start_index: int = 0,
        window_s: float | None = None,
        hop_s: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        """Set up one stream of (frames, channels) blocks at `input_rate_hz`.

        start_index: a multiple of a frame of the front-end. window_s, hop_s: None takes the bundle's. thresholds: `on`
        per label in place of the bundle's; `off` follows in proportion. Raises ConfigError for a value that this
        bundle cannot run with.
        """
        manifest = bundle.manifest
        _check_window(manifest, window_s)
        hop_samples = _hop_samples(manifest, hop_s)
        labels = _labels(manifest, thresholds or {})
        frame_samples = manifest.front_end.hop_samples
        self.sample_rate_hz = manifest.front_end.sample_rate_hz
        self.windows_done = 0
        self.on_scores: Callable[[TrackChunk], None] | None = None
        """Observer of the fused and masked scores, called with each finished chunk before its events are found."""
        self.on_window: Callable[[Analysed], None] | None = None
        """Observer of the windows, called with each before its scores are fused."""
        self._backend = backend
        self._start_index = start_index
        self._manifest = manifest
        self._window_samples = manifest.window_samples
        self._hop_samples = hop_samples
        self._resampler = StreamResampler(input_rate_hz, self.sample_rate_hz, channels)
        self._windower = Windower(manifest.window_samples, hop_samples, start_index)
        self._track = ScoreTrack(
            frame_samples=frame_samples,
            window_samples=manifest.window_samples,
            hop_samples=hop_samples,
            step_samples=manifest.step_samples,
            labels=len(labels),
        )
        names = [label.name for label in labels]
        self._masks = [(names.index(label.name), [names.index(name) for name in label.masked_by]) for label in labels]
        self._detector = EventDetector(labels, frame_samples, self.sample_rate_hz)

    @property
    def position(self) -> int:
        """Absolute index one past the last sample taken in, at the bundle's rate."""
        return self._windower.end

    @property
    def settled(self) -> int:
        """No event that is still to come begins before this absolute sample index."""
        settled = self._detector.settled
        return self._start_index if settled is None else settled

    @property
    def widest(self) -> int:
        """What `widen` takes at most: the hops that a window holds."""
        return self._window_samples // self._hop_samples

    def widen(self, times: int) -> None:
        """From the next window on, so many hops from one to the next; 1 is the configured hop.

        Fewer windows cost less and see each sound less often; every sample still lies in one. Raises ValueError for
        less than 1 or more than `widest`.
        """
        self._windower.set_hop(times * self._hop_samples)
        self._track.set_hop(times * self._hop_samples)

    def change_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Go on with other thresholds, as the constructor takes them.

        Raises:
            ConfigError: the bundle has no such label.
        """
        self._detector.change(_labels(self._manifest, thresholds))

    def push(self, samples: NDArray[np.float32]) -> list[Event]:
        """Take (frames, channels) float32 in [-1, 1]; return the events that became final.

        An event is final a hop, a fifth of a window (`edge.track`), its merge gap and its refractory time after
        its end.
        """
        return self._analyse(self._windower.push(self._resampler.push(samples)))

    def flush(self) -> list[Event]:
        """End of the stream: analyse the tail, shorter than a window or not, and return all remaining events."""
        events = self._analyse(self._windower.push(self._resampler.flush()))
        events += self._analyse(self._windower.flush())
        events += self._detect(self._track.flush(self.position))
        events += self._detector.flush()
        # The last frame may reach past the last sample.
        return [replace(event, offset=min(event.offset, self.position)) for event in events]

    def _analyse(self, windows: Iterable[Window]) -> list[Event]:
        events: list[Event] = []
        for window in windows:
            begun = time.perf_counter()
            output = self._backend.infer(window.samples)
            self.windows_done += 1
            if self.on_window is not None:
                self.on_window(Analysed(window.start, window.valid, time.perf_counter() - begun, output))
            events += self._detect(self._track.add(window, output.scores))
        return events

    def _detect(self, chunk: TrackChunk) -> list[Event]:
        scores = chunk.scores.copy()
        for column, others in self._masks:
            for other in others:
                scores[:, column] *= 1.0 - chunk.scores[:, other]
        chunk = TrackChunk(chunk.start_frame, scores)
        if self.on_scores is not None:
            self.on_scores(chunk)
        return self._detector.push(chunk)


def _check_window(manifest: Manifest, window_s: float | None) -> None:
    if window_s is not None and not math.isclose(window_s, manifest.window_s):
        raise ConfigError(
            f"windows.window_s is {window_s}, but the encoder of bundle {manifest.name} takes windows of "
            f"{manifest.window_s} s: leave it out"
        )


def _hop_samples(manifest: Manifest, hop_s: float | None) -> int:
    if hop_s is None:
        return manifest.hop_samples
    rate, frame = manifest.front_end.sample_rate_hz, manifest.front_end.hop_samples
    frames = hop_s * rate / frame
    if not 1 <= round(frames) * frame <= manifest.window_samples or not math.isclose(frames, round(frames)):
        raise ConfigError(
            f"windows.hop_s is {hop_s}: give a multiple of {frame / rate} s, at most {manifest.window_s} s"
        )
    return round(frames) * frame


def _labels(manifest: Manifest, thresholds: Mapping[str, float]) -> list[Label]:
    names = [label.name for label in manifest.labels]
    for name, on in thresholds.items():
        if name not in names:
            raise ConfigError(f"thresholds.{name}: bundle {manifest.name} has no such label, only {', '.join(names)}")
        if not 0 < on <= 1:
            raise ConfigError(f"thresholds.{name} is {on}: give a score above 0 and at most 1")
    labels = []
    for label in manifest.labels:
        if label.name in thresholds:
            point, on = label.operating_point, thresholds[label.name]
            changed = point.model_copy(update={"on": on, "off": on * (point.off / point.on)})
            labels.append(label.model_copy(update={"operating_point": changed}))
        else:
            labels.append(label)
    return labels
