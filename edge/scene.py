"""Composes a synthetic room: coughs alone and in bouts, breathing, speech-like sound, knocks, with their exact times.

For the demonstration and for tests of the machinery, where no recording of a person may be kept. The sounds come from
`edge.synthesis`. A figure measured on such a scene says that the parts work together, not how well people are heard.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edge import synthesis
from edge.synthesis import SAMPLE_RATE_HZ, Signal

SceneLabel = Literal["cough", "breath", "speech", "knock"]


@dataclass(frozen=True)
class SceneEvent:
    """One sound of a scene; onset and offset in seconds from its start, without the echo that follows."""

    label: SceneLabel
    onset_s: float
    offset_s: float


@dataclass(frozen=True)
class Scene:
    """A composed scene: float32 samples in [-1, 1] at 16 kHz, and its events in order of time."""

    samples: NDArray[np.float32]
    events: tuple[SceneEvent, ...]

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.samples.size / SAMPLE_RATE_HZ

    def of(self, label: SceneLabel) -> tuple[SceneEvent, ...]:
        """Return the events of one label."""
        return tuple(event for event in self.events if event.label == label)


@dataclass(frozen=True)
class _Sound:
    """A dry sound within a passage: where it begins in the passage, and its level (RMS, dBFS)."""

    label: SceneLabel
    start_s: float
    samples: Signal
    level_dbfs: float


Passage = list[_Sound]


def compose_scene(duration_s: float, seed: int = 0, *, ambience_dbfs: float = -45.0) -> Scene:
    """Compose a scene of a given length; the same arguments give the same scene.

    Passages (a bout of coughs, a few breaths, some speech, knocks) follow each other with a second or more between
    them, in a shuffled order in which all kinds take their turn. A scene too short for a passage is room noise.

    Args:
        duration_s: length in seconds, above 0.
        seed: of everything that varies.
        ambience_dbfs: level of the room's noise, RMS.
    """
    rng = np.random.default_rng(seed)
    samples = synthesis.room_noise(rng, round(duration_s * SAMPLE_RATE_HZ)) * np.float32(10.0 ** (ambience_dbfs / 20.0))
    response = synthesis.room_response(rng)
    events: list[SceneEvent] = []
    deck: list[Callable[[np.random.Generator], Passage]] = []
    position_s = rng.uniform(1.0, 2.0)
    while True:
        deck = deck or [_PASSAGES[i] for i in rng.permutation(len(_PASSAGES))]
        passage = deck.pop()(rng)
        end_s = position_s + max(_end_s(sound) for sound in passage)
        if end_s + response.size / SAMPLE_RATE_HZ > duration_s:
            break
        for sound in passage:
            onset_s = position_s + sound.start_s
            _add(samples, onset_s, _in_room(sound, response))
            events.append(SceneEvent(sound.label, round(onset_s, 4), round(position_s + _end_s(sound), 4)))
        position_s = end_s + rng.uniform(1.0, 2.5)
    return Scene(np.clip(samples, -1.0, 1.0), tuple(events))


def _single_cough(rng: np.random.Generator) -> Passage:
    return _cough_bout(rng, 1)


def _cough_bout(rng: np.random.Generator, count: int | None = None) -> Passage:
    """Coughs of one person in one breath: each begins 0.45 s or more after the one before, and is a little weaker."""
    level_dbfs, start_s, passage = rng.uniform(-25.0, -17.0), 0.0, Passage()
    for _ in range(count or rng.integers(2, 5)):
        sound = synthesis.cough(rng)
        passage.append(_Sound("cough", start_s, sound, level_dbfs))
        start_s += max(rng.uniform(0.45, 0.9), sound.size / SAMPLE_RATE_HZ + 0.03)
        level_dbfs -= rng.uniform(0.0, 2.0)
    return passage


def _breathing(rng: np.random.Generator) -> Passage:
    level_dbfs, start_s, passage = rng.uniform(-31.0, -25.0), 0.0, Passage()
    for _ in range(rng.integers(2, 4)):
        sound = synthesis.breath(rng)
        passage.append(_Sound("breath", start_s, sound, level_dbfs))
        start_s += sound.size / SAMPLE_RATE_HZ + rng.uniform(0.4, 1.0)
    return passage


def _speech(rng: np.random.Generator) -> Passage:
    return [_Sound("speech", 0.0, synthesis.speech(rng, rng.uniform(2.0, 4.0)), rng.uniform(-30.0, -24.0))]


def _knocks(rng: np.random.Generator) -> Passage:
    level_dbfs, interval_s = rng.uniform(-30.0, -22.0), rng.uniform(0.25, 0.4)
    return [_Sound("knock", i * interval_s, synthesis.knock(rng), level_dbfs) for i in range(rng.integers(2, 5))]


_PASSAGES = (_single_cough, _cough_bout, _cough_bout, _breathing, _speech, _knocks)


def _end_s(sound: _Sound) -> float:
    return sound.start_s + sound.samples.size / SAMPLE_RATE_HZ


def _in_room(sound: _Sound, response: Signal) -> Signal:
    """Add the echo and scale to the level, as far as the peak stays at -4 dBFS, so that a loud cough is not clipped."""
    heard = synthesis.convolve(sound.samples, response)
    rms = float(np.sqrt(np.mean(sound.samples**2, dtype=np.float64)))
    return heard * np.float32(min(10.0 ** (sound.level_dbfs / 20.0) / rms, 0.63 / np.abs(heard).max()))


def _add(samples: Signal, onset_s: float, sound: Signal) -> None:
    start = round(onset_s * SAMPLE_RATE_HZ)
    samples[start : start + sound.size] += sound
