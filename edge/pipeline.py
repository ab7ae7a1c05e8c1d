"""From settings to events: opens the model, and runs one source through one analyzer.

Does: what `run` and `replay` share, so that a recording is heard the same way by both. Does not: store or send events,
or know the time of day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edge.analysis import Analyzer
from edge.backends import open_backend
from edge.backends.base import Backend
from edge.bundle import Bundle, check_golden, default_bundle, load_bundle
from edge.config import Settings
from edge.errors import AudioError
from edge.events import Event
from edge.sections import BundleSettings
from edge.sources.base import Block, Source


@dataclass(frozen=True)
class Model:
    """A bundle that has proved itself on this machine."""

    bundle: Bundle
    backend: Backend

    @property
    def name(self) -> str:
        """Name and version, as ``room-1.0.0``."""
        return f"{self.bundle.manifest.name}-{self.bundle.manifest.version}"

    def analyzer(self, source: Source, settings: Settings) -> Analyzer:
        """A fresh analyzer for one run of `source`.

        Raises:
            ConfigError: windows or thresholds that this bundle cannot run with.
        """
        return Analyzer(
            self.bundle,
            self.backend,
            input_rate_hz=source.sample_rate_hz,
            channels=source.channels,
            window_s=settings.windows.window_s,
            hop_s=settings.windows.hop_s,
            thresholds=settings.thresholds,
        )


def open_model(settings: BundleSettings) -> Model:
    """Load the bundle, open it on its backend, and compare its golden outputs.

    Raises:
        BundleError: it is incomplete, altered, not trusted, or computes something else here.
    """
    bundle = load_bundle(
        Path(settings.path) if settings.path else default_bundle(),
        trusted_keys=[Path(key) for key in settings.trusted_keys],
        allow_unsigned=settings.allow_unsigned,
    )
    backend = open_backend(bundle, settings.backend)
    check_golden(bundle, backend)
    return Model(bundle, backend)


def detect(source: Source, analyzer: Analyzer, on_block: Callable[[Block], None]) -> Iterator[Event]:
    """Yield the events of `source` as they are found, and those of its tail when it ends.

    `on_block` is called for every block before it is analysed.

    Raises:
        AudioError: the source turned unusable, or left a gap; the events before the fault have been yielded.
    """
    fault: AudioError | None = None
    try:
        for block in _without_gap(source):
            on_block(block)
            yield from analyzer.push(block.samples)
    except AudioError as error:
        fault = error
    yield from analyzer.flush()
    if fault is not None:
        raise fault


def _without_gap(source: Source) -> Iterator[Block]:
    """The blocks of `source`; AudioError at a gap, behind which every event would be told too early."""
    position = 0
    for block in source.blocks():
        if block.position != position:
            raise AudioError(f"{source.name}: the sound jumps from sample {position} to {block.position}: start again")
        yield block
        position += len(block.samples)
