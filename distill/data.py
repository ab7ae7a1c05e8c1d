"""Training data: scenes drawn at random from training clips, and whole validation clips."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from align.audio import load
from align.channel import decibels, in_room, random_channel, room_response
from align.corpora import CorpusError, Recording
from distill.scenes import Canvas, Clip, active_level_db, coloured_noise
from distill.targets import ABSENT, PRESENT, annotate, holds

FRAME_RATE_HZ = 100
SCENE_FRAMES = 8 * FRAME_RATE_HZ
LARGE_CORPUS = 100

BARE_SHARE = 0.06
"""Scenes that are one clip and then digital silence, as a short recording is when it is replayed."""

BEDS = {
    "airplane",
    "chirping_birds",
    "clock_tick",
    "crackling_fire",
    "crickets",
    "engine",
    "helicopter",
    "insects",
    "keyboard_typing",
    "noise",
    "non_cough",
    "pouring_water",
    "rain",
    "sea_waves",
    "thunderstorm",
    "toilet_flush",
    "train",
    "vacuum_cleaner",
    "washing_machine",
    "wind",
}
"""Continuous sounds that can lie under a scene."""

# How often a placed sound is of each kind. Sneezes are rare in the corpora and the likest to coughs.
SHARES = {
    "cough": 0.34,
    "breath": 0.12,
    "speech": 0.13,
    "sneezing": 0.12,
    "non_cough": 0.13,
    "other": 0.14,
    "synthetic": 0.02,
}


def load_clips(recordings: Sequence[Recording], sample_rate_hz: int, labels: Sequence[str]) -> list[Clip]:
    """Decode and annotate recordings, with a progress bar.

    Raises:
        AudioError: a recording cannot be used.
        CorpusError: the marked times of one all lie past its end.
    """

    def clip(recording: Recording) -> Clip:
        samples = load(recording.path, sample_rate_hz)
        targets = annotate(recording, samples, sample_rate_hz, labels)
        known = tuple(holds(recording, label) for label in labels)
        marked = bool(recording.times_s) and recording.event in labels
        if marked and not (targets == PRESENT).any():
            raise CorpusError(f"{recording.path}: its marked times lie past its end; correct them or the file")
        return Clip(samples, targets, recording.event, recording.corpus, known, marked)

    with ThreadPoolExecutor(2) as pool:
        return list(tqdm(pool.map(clip, recordings), total=len(recordings), desc="decode", unit="clip"))


class SceneMaker:
    """Draws scenes: a bed, up to four placed sounds through random channels, a room, a gain."""

    def __init__(self, clips: Sequence[Clip], sample_rate_hz: int, labels: int) -> None:
        self.rate, self.hop, self.labels = sample_rate_hz, sample_rate_hz // FRAME_RATE_HZ, labels
        self.by_kind: dict[str, dict[str, list[Clip]]] = {kind: {} for kind in (*SHARES, "bed")}
        for clip in clips:
            kind = clip.event if clip.event in SHARES else "speech" if clip.event == "vowel" else "other"
            self.by_kind[kind].setdefault(clip.corpus, []).append(clip)
            if clip.event in BEDS:
                self.by_kind["bed"].setdefault(clip.corpus, []).append(clip)
        known = [kind for kind in SHARES if kind == "synthetic" or self.by_kind[kind]]
        self.kinds = known
        self.shares = np.array([SHARES[kind] for kind in known]) / sum(SHARES[kind] for kind in known)

    def scene(self, rng: np.random.Generator) -> Canvas:
        """Draw one scene of 8 s."""
        canvas = Canvas(SCENE_FRAMES, self.hop, self.labels)
        if rng.random() < BARE_SHARE:
            clip = self._clip(rng)
            samples = random_channel(clip.samples, self.rate, rng) if rng.random() < 0.5 else clip.samples
            canvas.place(clip, 0, rng.uniform(-30.0, 0.0), samples)
            return canvas
        bed_db = self._bed(canvas, rng)
        for _ in range(rng.choice([1, 2, 3, 4], p=[0.35, 0.3, 0.2, 0.15])):
            self._place(canvas, bed_db, rng)
        if rng.random() < 0.5:
            response = room_response(self.rate, rng.uniform(0.1, 0.8), rng.uniform(-3.0, 15.0), rng)
            canvas.samples = in_room(canvas.samples, response)
        if rng.random() < 0.4:
            canvas.samples = random_channel(canvas.samples, self.rate, rng)
        peak = float(np.abs(canvas.samples).max()) + 1e-9
        canvas.samples *= np.float32(decibels(rng.uniform(-45.0, 0.0)) / peak)
        return canvas

    def _bed(self, canvas: Canvas, rng: np.random.Generator) -> float:
        """Lay ambience and return its level in dB."""
        bed_db = rng.uniform(-75.0, -35.0)
        frames = len(canvas.targets)
        if self.by_kind["bed"] and rng.random() < 0.45:
            clip = self._draw("bed", rng)
            start = 0
            while start < frames:
                canvas.place(clip, start, bed_db - active_level_db(clip.samples, self.rate))
                start += max(50, len(clip.targets))
        else:
            noise = coloured_noise(len(canvas.samples), rng.uniform(0.0, 2.0), rng)
            canvas.samples += noise * np.float32(decibels(bed_db))
        return bed_db

    def _place(self, canvas: Canvas, bed_db: float, rng: np.random.Generator) -> None:
        clip = self._clip(rng)
        first = int(rng.integers(-len(clip.targets) // 3, SCENE_FRAMES - min(len(clip.targets), SCENE_FRAMES) // 2))
        samples = random_channel(clip.samples, self.rate, rng) if rng.random() < 0.5 else clip.samples
        gain_db = bed_db + rng.uniform(-5.0, 30.0) - active_level_db(samples, self.rate)
        canvas.place(clip, first, gain_db, samples)

    def _clip(self, rng: np.random.Generator) -> Clip:
        """A sound to place: drawn, cut, and at times played faster or slower, more so where there are few clips."""
        kind = str(rng.choice(self.kinds, p=self.shares))
        if kind == "synthetic":
            return distractor(self.rate, self.labels, rng)
        clip = self._cut(self._draw(kind, rng), rng)
        if rng.random() < 0.5:
            return clip
        spread = 0.15 if sum(map(len, self.by_kind[kind].values())) >= LARGE_CORPUS else 0.3
        return clip.at_speed(rng.uniform(1.0 - spread, 1.0 + spread), self.hop)

    def _draw(self, kind: str, rng: np.random.Generator) -> Clip:
        """A clip of a kind. Past `LARGE_CORPUS` clips a corpus is drawn no more often, lest it drown the others."""
        corpora = list(self.by_kind[kind].values())
        weights = np.minimum([len(clips) for clips in corpora], LARGE_CORPUS)
        clips = corpora[rng.choice(len(corpora), p=weights / weights.sum())]
        return clips[rng.integers(len(clips))]

    def _cut(self, clip: Clip, rng: np.random.Generator) -> Clip:
        """At most a scene's length of it; at times only one to three marked events, as somebody coughs now and then."""
        frames = len(clip.targets)
        if clip.marked and rng.random() < 0.4:
            marks = clip.targets[:, (clip.targets == PRESENT).any(axis=0)] != ABSENT
            edges = np.flatnonzero(np.diff(marks.any(axis=1), prepend=False, append=False))
            onsets, offsets = edges[::2], edges[1::2]
            first = int(rng.integers(len(onsets)))
            last = min(len(onsets) - 1, first + int(rng.integers(3)))
            return clip.piece(max(0, onsets[first] - 3), min(frames, offsets[last] + 10), self.hop)
        if frames <= SCENE_FRAMES:
            return clip
        start = int(rng.integers(frames - SCENE_FRAMES))
        return clip.piece(start, start + SCENE_FRAMES, self.hop)


def distractor(sample_rate_hz: int, labels: int, rng: np.random.Generator) -> Clip:
    """A synthetic sound that is none of the labels: a knock, a click train, a beep or a sweep."""
    length = int(sample_rate_hz * rng.uniform(0.05, 1.5))
    time = np.arange(length) / sample_rate_hz
    kind = rng.integers(3)
    if kind == 0:
        modes = rng.uniform(80.0, 2500.0, size=4)
        audio = sum(np.sin(2 * np.pi * mode * time) * np.exp(-time * rng.uniform(20.0, 120.0)) for mode in modes)
    elif kind == 1:
        clicks = rng.random(length) < rng.uniform(5.0, 60.0) / sample_rate_hz
        audio = np.convolve(clicks * rng.standard_normal(length), np.exp(-np.arange(200) / rng.uniform(5.0, 60.0)))[
            :length
        ]
    else:
        start, stop = rng.uniform(200.0, 4000.0, size=2)
        audio = np.sin(2 * np.pi * np.cumsum(np.linspace(start, stop, length)) / sample_rate_hz)
    frames = -(-length // (sample_rate_hz // FRAME_RATE_HZ))
    samples = np.asarray(audio / (np.abs(audio).max() + 1e-9), dtype=np.float32)
    return Clip(samples, np.zeros((frames, labels), dtype=np.int8), "synthetic", "synthetic")
