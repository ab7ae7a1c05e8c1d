"""From settings to events: opens the model, and runs one source's sound through it, gaps and all.

Does: what `run` and `replay` share, so that a recording is heard the same way by both. Does not: store or send events,
or know the time of day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.analysis import Analysed, Analyzer
from edge.backends.base import Backend
from edge.backends.choice import choose_backend
from edge.bundle import Bundle, find_bundle, load_bundle
from edge.config import Settings, engines_folder
from edge.errors import AudioError
from edge.events import Event
from edge.sections import BundleSettings
from edge.sources.base import Block, Source
from edge.track import TrackChunk


@dataclass(frozen=True)
class Model:
    """A bundle that has proved itself on this machine."""

    bundle: Bundle
    backend: Backend
    trouble: Callable[[], str] = lambda: ""
    """Why another runtime computes than should; empty where all is as wanted."""

    @property
    def name(self) -> str:
        """Name and version, as ``room-1.0.0``."""
        return f"{self.bundle.manifest.name}-{self.bundle.manifest.version}"

    @property
    def sample_rate_hz(self) -> int:
        """The rate of all sample indices behind the source."""
        return self.bundle.manifest.front_end.sample_rate_hz

    def analyzer(self, settings: Settings, *, input_rate_hz: int, channels: int, start_index: int = 0) -> Analyzer:
        """A fresh analyzer for one stream without a gap.

        Raises:
            ConfigError: windows or thresholds that this bundle cannot run with.
        """
        return Analyzer(
            self.bundle,
            self.backend,
            input_rate_hz=input_rate_hz,
            channels=channels,
            start_index=start_index,
            window_s=settings.windows.window_s,
            hop_s=settings.windows.hop_s,
            thresholds=settings.thresholds,
        )

    def widest(self, settings: Settings) -> int:
        """The hops that a window holds. Sees as well, before any sound, that this bundle can run with the settings.

        Raises:
            ConfigError: it cannot.
        """
        return self.analyzer(settings, input_rate_hz=self.sample_rate_hz, channels=1).widest


def open_bundle(settings: BundleSettings) -> Bundle:
    """Load the bundle that is set, or the one that ships.

    Raises:
        BundleError: it is incomplete, altered or not trusted.
    """
    return load_bundle(
        find_bundle(settings.path),
        trusted_keys=[Path(key) for key in settings.trusted_keys],
        allow_unsigned=settings.allow_unsigned,
    )


def open_model(settings: BundleSettings) -> Model:
    """Load the bundle, open it on the best backend whose golden outputs agree.

    Raises:
        BundleError: it is incomplete, altered, not trusted, or computes something else here.
    """
    bundle = open_bundle(settings)
    choice = choose_backend(bundle, settings.backend, engines_folder(settings))
    return Model(bundle, choice.backend, choice.trouble)


class SourceAnalyzer:
    """One source's blocks to its events, from one gap to the next with an analyzer each.

    No window reaches over a gap: what lies before it is analysed to its end as if the sound had ended there. Events
    have absolute sample indices at the bundle's rate, with 0 at the source's position 0; a stretch begins at the
    nearest frame (0.01 s), so times after a gap are true to half of that.
    """

    def __init__(self, model: Model, settings: Settings, source: Source) -> None:
        """Nothing is built before the first block, which tells the source's rate and channels."""
        self.model = model
        self.on_window: Callable[[Analysed], None] | None = None
        self.on_scores: Callable[[TrackChunk], None] | None = None
        self.position: int | None = None
        """Where the next block begins if there is no gap, at the source's rate; None before the first."""
        self._settings = settings
        self._source = source
        self._analyzer: Analyzer | None = None
        self._times = 1
        self._has_new_thresholds = False

    @property
    def settled(self) -> int:
        """No event that is still to come begins before this absolute sample index, at the bundle's rate."""
        if self._analyzer is not None:
            return self._analyzer.settled
        return self.position * self.model.sample_rate_hz // self._source.sample_rate_hz if self.position else 0

    def push(self, block: Block) -> list[Event]:
        """Take a block; return the events that became final, those before a gap first.

        Raises:
            AudioError: the block lies before the end of the last one.
        """
        events: list[Event] = []
        expected = 0 if self.position is None else self.position
        if block.position < expected:
            raise AudioError(f"{self._source.name}: the sound jumps back from sample {expected} to {block.position}")
        if block.position > expected:
            events += self.flush()
        if self._analyzer is None:
            self._analyzer = self._begin(block.position)
        if self._has_new_thresholds:
            self._has_new_thresholds = False
            self._analyzer.change_thresholds(self._settings.thresholds)
        self.position = block.position + len(block.samples)
        return events + self._analyzer.push(block.samples)

    def flush(self) -> list[Event]:
        """The sound ends or breaks off here: return the events that are left."""
        if self._analyzer is None:
            return []
        events = self._analyzer.flush()
        self._analyzer = None
        return events

    def widen(self, times: int) -> None:
        """So many hops from one window to the next, at most `Model.widest`; see `Analyzer.widen`."""
        self._times = times
        if self._analyzer is not None:
            self._analyzer.widen(times)

    def change_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Hear by other thresholds from the next block on; from any thread.

        thresholds: the bundle must have each label.
        """
        self._settings = self._settings.model_copy(update={"thresholds": dict(thresholds)})
        self._has_new_thresholds = True

    def _begin(self, position: int) -> Analyzer:
        rate_hz, frame = self.model.sample_rate_hz, self.model.bundle.manifest.front_end.hop_samples
        # In whole numbers: a float is not exact any more after some months of samples.
        frames = (2 * position * rate_hz + self._source.sample_rate_hz * frame) // (
            2 * self._source.sample_rate_hz * frame
        )
        analyzer = self.model.analyzer(
            self._settings,
            input_rate_hz=self._source.sample_rate_hz,
            channels=self._source.channels,
            start_index=frames * frame,
        )
        analyzer.on_window = self.on_window
        analyzer.on_scores = self.on_scores
        analyzer.widen(self._times)
        return analyzer


def detect(source: Source, analyzer: SourceAnalyzer, on_block: Callable[[Block], None]) -> Iterator[Event]:
    """Yield the events of `source` as they are found, and those of its tail when it ends.

    `on_block` is called for every block before it is analysed.

    Raises:
        AudioError: the source turned unusable; the events before the fault have been yielded.
    """
    fault: AudioError | None = None
    try:
        for block in source.blocks():
            on_block(block)
            yield from analyzer.push(block)
    except AudioError as error:
        fault = error
    yield from analyzer.flush()
    if fault is not None:
        raise fault
