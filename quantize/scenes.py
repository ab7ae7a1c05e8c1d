"""Hours of continuous sound composed of recordings, with exact times of the marked events in them.

Clips say nothing of false alarms an hour; a scene does. Ambience lies at -45 dBFS; bouts of marked coughs, speech,
sneezes, knocks, breaths and other everyday sounds stand apart from each other at -32 to -18 dBFS (level of their loud
part). Operating points are chosen on scenes of validation recordings, `bench.scenes` measures on test recordings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from align.channel import Samples, decibels
from align.corpora import Recording
from distill.data import BEDS
from distill.scenes import active_level_db, coloured_noise

SCENE_S = 600.0
AMBIENCE_DBFS = -45.0
EVENT_DBFS = (-32.0, -18.0)
NOISE_SHARE = 0.3
"""Scenes whose ambience is coloured noise; the others' is a recorded one."""

MARKED = "marked"
PER_HOUR = {
    MARKED: 30,
    "speech": 60,
    "sneezing": 12,
    "door_wood_knock": 12,
    "non_cough": 12,
    "breath": 12,
    "other": 60,
}
"""Sounds an hour of each kind: a talkative, noisy home with somebody who coughs, in bouts of up to four."""

CAUSE_MARGIN_S = 0.3

WITHIN = ", within a mark"
"""Who marks coughs often marks a peal of them as one. What is heard within it is then a further burst of that cough or,
where its onset was missed, a late detection."""


@dataclass(frozen=True)
class Sound:
    """A sound to place: samples, what it is, and (onset, offset) of what is marked in it, seconds from its start."""

    samples: Samples
    kind: str
    marks_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Placed:
    """A sound in a scene, seconds from the scene's start."""

    sound: Sound
    start_s: float
    stop_s: float


@dataclass(frozen=True)
class Scene:
    """Continuous sound, and what is in it in order of time."""

    samples: Samples
    placed: tuple[Placed, ...]

    @property
    def onsets_s(self) -> list[float]:
        """Onsets of all marked events."""
        return [placed.start_s + onset for placed in self.placed for onset, _ in placed.sound.marks_s]

    def cause(self, time_s: float) -> str:
        """What sounds at a time: the kind of the sound placed there, and if its mark holds it, or the ambience."""
        for placed in self.placed:
            if placed.start_s - CAUSE_MARGIN_S <= time_s <= placed.stop_s + CAUSE_MARGIN_S:
                within = any(onset <= time_s - placed.start_s < offset for onset, offset in placed.sound.marks_s)
                return placed.sound.kind + (WITHIN if within else "")
        return "ambience"


class Composer:
    """Composes scenes of the recordings of one split."""

    def __init__(self, clips: Sequence[tuple[Recording, Samples]], label: str, sample_rate_hz: int) -> None:
        """Sort the clips by what they can be used for.

        Args:
            clips: recordings and their samples at `sample_rate_hz`. Unmarked recordings of the label are not used.
            label: the event whose marked times are wanted.
            sample_rate_hz: of the samples.

        Raises:
            ValueError: no recording has marked times of the label.
        """
        self.rate, self.label = sample_rate_hz, label
        self.by_kind: dict[str, list[tuple[Recording, Samples]]] = {}
        for recording, samples in clips:
            if kind := self._kind(recording):
                self.by_kind.setdefault(kind, []).append((recording, samples))
        if MARKED not in self.by_kind:
            raise ValueError(f"no recording has marked times of {label}")

    def scene(self, rng: np.random.Generator) -> Scene:
        """Draw a scene: sounds in random order with random pauses, over ambience. Kinds nobody recorded are absent."""
        samples = self.ambience(rng)
        rates = {kind: rate for kind, rate in PER_HOUR.items() if kind in self.by_kind}
        kinds = [kind for kind, rate in rates.items() for _ in range(rng.poisson(rate * SCENE_S / 3600))]
        rng.shuffle(kinds)
        sounds = [self._sound(kind, rng) for kind in kinds]
        spare_s = SCENE_S - sum(len(sound.samples) for sound in sounds) / self.rate
        if spare_s < len(sounds) + 1:
            return self.scene(rng)
        pauses = rng.dirichlet(np.ones(len(sounds) + 1)) * (spare_s - len(sounds)) + 0.5
        placed, time_s = [], 0.0
        for sound, pause in zip(sounds, pauses, strict=False):
            start = round((time_s + pause) * self.rate)
            gain = decibels(rng.uniform(*EVENT_DBFS) - active_level_db(sound.samples, self.rate))
            samples[start : start + len(sound.samples)] += sound.samples * np.float32(gain)
            time_s = (start + len(sound.samples)) / self.rate
            placed.append(Placed(sound, start / self.rate, time_s))
        return Scene(np.clip(samples, -1.0, 1.0), tuple(placed))

    def ambience(self, rng: np.random.Generator) -> Samples:
        """A scene's length of a recorded bed repeated with crossfades, or coloured noise, at AMBIENCE_DBFS."""
        length = round(SCENE_S * self.rate)
        if "bed" not in self.by_kind or rng.random() < NOISE_SHARE:
            return coloured_noise(length, rng.uniform(0.0, 2.0), rng) * np.float32(decibels(AMBIENCE_DBFS))
        clip = self._draw("bed", rng)[1].copy()
        fade = len(clip) // 4
        ramp = np.sqrt(np.linspace(0.0, 1.0, fade, dtype=np.float32))
        clip[:fade] *= ramp
        clip[-fade:] *= ramp[::-1]
        bed = np.zeros(length + len(clip), dtype=np.float32)
        for start in range(0, length, len(clip) - fade):
            bed[start : start + len(clip)] += clip
        bed = bed[fade : fade + length]
        level = np.sqrt(np.mean(np.square(bed, dtype=np.float64))) + 1e-9
        return np.asarray(bed * (decibels(AMBIENCE_DBFS) / level), dtype=np.float32)

    def _kind(self, recording: Recording) -> str:
        """What a recording is used for; nothing for an unmarked one of the label."""
        if recording.event == self.label:
            return MARKED if recording.times_s else ""
        if recording.event in PER_HOUR:
            return recording.event
        return "bed" if recording.event in BEDS else "other"

    def _draw(self, kind: str, rng: np.random.Generator) -> tuple[Recording, Samples]:
        clips = self.by_kind[kind]
        return clips[int(rng.integers(len(clips)))]

    def _sound(self, kind: str, rng: np.random.Generator) -> Sound:
        recording, samples = self._draw(kind, rng)
        if kind == MARKED:
            first_s, last_s, marks_s = bout(recording, len(samples) / self.rate, rng)
            piece = faded(samples[round(first_s * self.rate) : round(last_s * self.rate)], self.rate)
            return Sound(piece, recording.event, tuple((on - first_s, off - first_s) for on, off in marks_s))
        return Sound(faded(samples, self.rate), recording.event)


def bout(
    recording: Recording, duration_s: float, rng: np.random.Generator
) -> tuple[float, float, tuple[tuple[float, float], ...]]:
    """One to four marked events that follow each other: where to cut, and their marks, in seconds of the recording.

    A cut lies a little before the first and after the last of them, at most half-way to a neighbour.
    """
    times = recording.times_s
    begin = int(rng.integers(len(times)))
    chosen = times[begin : begin + int(rng.integers(1, 5))]
    previous = times[begin - 1][1] if begin else 0.0
    following = times[begin + len(chosen)][0] if begin + len(chosen) < len(times) else duration_s
    first_s = max(chosen[0][0] - 0.1, (previous + chosen[0][0]) / 2)
    last_s = min(chosen[-1][1] + 0.3, (chosen[-1][1] + following) / 2)
    return first_s, last_s, chosen


def faded(samples: Samples, sample_rate_hz: int) -> Samples:
    """A copy whose ends rise and fall over 10 ms, so that no click marks a cut."""
    piece = samples.copy()
    fade = min(len(piece) // 2, sample_rate_hz // 100)
    piece[:fade] *= np.linspace(0.0, 1.0, fade, dtype=np.float32)
    piece[len(piece) - fade :] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return piece
