"""Hear recordings the way the device does: source, resampling, windows, fused scores, events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from align.corpora import Recording
from align.statistics import clip_scores
from edge.analysis import Analyzer
from edge.backends import open_backend
from edge.bundle import Bundle, default_bundle, load_bundle
from edge.events import Event
from edge.sources.file import FileSource
from edge.track import TrackChunk


@dataclass(frozen=True)
class Heard:
    """What the device made of one recording."""

    scores: dict[str, float]
    """Clip score of each label, 0..1: the mean over its highest-scored second of the fused track."""
    events: tuple[Event, ...]
    sample_rate_hz: int
    duration_s: float

    def onsets_s(self, label: str) -> list[float]:
        """Onsets of a label's events in seconds from the start."""
        return [event.onset / self.sample_rate_hz for event in self.events if event.label == label]


class Listener:
    """A bundle and its backend, for hearing one recording after another."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.backend = open_backend(bundle)
        self.labels = [label.name for label in bundle.manifest.labels]
        front_end = bundle.manifest.front_end
        self.frames_per_s = front_end.sample_rate_hz / front_end.hop_samples

    def hear(self, blocks: Iterable[NDArray[np.float32]], sample_rate_hz: int, channels: int = 1) -> Heard:
        """Analyse blocks (frames, channels) of one recording from its start to its end."""
        analyzer = Analyzer(self.bundle, self.backend, input_rate_hz=sample_rate_hz, channels=channels)
        chunks: list[NDArray[np.float32]] = []

        def watch(chunk: TrackChunk) -> None:
            chunks.append(chunk.scores)

        analyzer.on_scores = watch
        events: list[Event] = []
        frames = 0
        for block in blocks:
            frames += len(block)
            events += analyzer.push(block)
        events += analyzer.flush()
        track = np.concatenate(chunks)
        return Heard(
            scores=dict(zip(self.labels, clip_scores(track, self.frames_per_s).tolist(), strict=True)),
            events=tuple(events),
            sample_rate_hz=analyzer.sample_rate_hz,
            duration_s=frames / sample_rate_hz,
        )

    def hear_file(self, path: Path) -> Heard:
        """Analyse an audio file."""
        source = FileSource(path)
        blocks: Iterator[NDArray[np.float32]] = (block.samples for block in source.blocks())
        first = next(blocks)
        rest = [first, *blocks]
        return self.hear(rest, source.sample_rate_hz, first.shape[1])

    def hear_all(self, recordings: Sequence[Recording]) -> list[Heard]:
        """Analyse recordings one after another, with a progress bar."""
        return [self.hear_file(row.path) for row in tqdm(recordings, desc="listen", unit="clip")]


def open_bundle(path: Path | None) -> Bundle:
    """The bundle in a folder, unsigned ones too since it is only measured; None takes the one that ships."""
    return load_bundle(path or default_bundle(), allow_unsigned=True)
