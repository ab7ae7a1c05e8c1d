"""One stream of sound to events: resample, cut, infer, fuse, segment. No input or output but the backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.errors import ConfigError
from edge.events import Event, EventDetector
from edge.manifest import Label, Manifest
from edge.resample import StreamResampler
from edge.track import ScoreTrack, TrackChunk
from edge.windows import Window, Windower


class Analyzer:
    """Push sound in blocks of any size, take events out; the events do not depend on the sizes.

    Event times are sample indices at `sample_rate_hz`, the bundle's rate, with 0 at the first sample pushed. A gap in
    the sound ends a stream: flush, and go on with a new analyzer.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        *,
        input_rate_hz: int,
        channels: int,
        window_s: float | None = None,
        hop_s: float | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        """Set up one stream of (frames, channels) blocks at `input_rate_hz`.

        window_s, hop_s: None takes the bundle's. thresholds: `on` per label in place of the bundle's; `off` follows in
        proportion. Raises ConfigError for a value that this bundle cannot run with.
        """
        manifest = bundle.manifest
        _check_window(manifest, window_s)
        hop_samples = _hop_samples(manifest, hop_s)
        labels = _labels(manifest, thresholds or {})
        frame_samples = manifest.front_end.hop_samples
        self.sample_rate_hz = manifest.front_end.sample_rate_hz
        self.windows_done = 0
        self.on_scores: Callable[[TrackChunk], None] | None = None
        """Observer of the fused scores, called with each finished chunk before its events are found."""
        self._backend = backend
        self._resampler = StreamResampler(input_rate_hz, self.sample_rate_hz, channels)
        self._windower = Windower(manifest.window_samples, hop_samples)
        self._track = ScoreTrack(
            frame_samples=frame_samples,
            window_samples=manifest.window_samples,
            hop_samples=hop_samples,
            step_samples=manifest.step_samples,
            labels=len(labels),
        )
        self._detector = EventDetector(labels, frame_samples, self.sample_rate_hz)

    @property
    def position(self) -> int:
        """Samples taken in so far, at the bundle's rate."""
        return self._windower.end

    def push(self, samples: NDArray[np.float32]) -> list[Event]:
        """Take (frames, channels) float32 in [-1, 1]; return the events that became final.

        An event is final a window, its merge gap and its refractory time after its end.
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
            scores = self._backend.infer(window.samples).scores
            self.windows_done += 1
            events += self._detect(self._track.add(window, scores))
        return events

    def _detect(self, chunk: TrackChunk) -> list[Event]:
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
