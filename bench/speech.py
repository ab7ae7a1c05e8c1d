"""Hours in which somebody always speaks, composed of test recordings of speech: how often is a cough heard in them?

The recordings come in random order, each once before any comes again, with short pauses, over the ambience and at the
levels of `quantize.scenes`. There are only minutes of them, so an hour holds each many times over: the interval of the
rate is that of chance alone, not that of other people's voices. `bench.scenes` prints what is found here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from align.channel import Samples, decibels
from align.corpora import Recording
from distill.scenes import active_level_db
from edge.intervals import poisson_interval
from quantize.scenes import EVENT_DBFS, SCENE_S, Composer, Placed, Scene, Sound, faded

EVENT = "speech"
PAUSE_S = (0.1, 0.5)
"""Between two recordings; most begin and end with a silence of their own."""

Spoken = tuple[Recording, Samples]


class Talk:
    """Scenes of speech, one after the other, by a seed."""

    def __init__(self, composer: Composer, seed: int) -> None:
        """`composer` lends its recordings of speech, of which it needs one at least, and its ambience."""
        self._composer, self._rng = composer, np.random.default_rng([seed, 1])
        self.spoken = composer.by_kind[EVENT]
        self._order = self._endless()
        self._next = next(self._order)

    def scene(self) -> Scene:
        """Speech up to the end of a scene; the kind of each sound is the name of its recording."""
        rate, samples = self._composer.rate, self._composer.ambience(self._rng)
        placed: list[Placed] = []
        start = 0
        while start + len(self._next[1]) <= len(samples):
            recording, heard = self._next
            gain = decibels(self._rng.uniform(*EVENT_DBFS) - active_level_db(heard, rate))
            stop = start + len(heard)
            samples[start:stop] += faded(heard, rate) * np.float32(gain)
            placed.append(Placed(Sound(heard, name_of(recording)), start / rate, stop / rate))
            start = stop + round(self._rng.uniform(*PAUSE_S) * rate)
            self._next = next(self._order)
        return Scene(np.clip(samples, -1.0, 1.0), tuple(placed))

    def _endless(self) -> Iterator[Spoken]:
        """All recordings in random order, then in another; of one that is longer than a scene, the beginning."""
        longest = round(SCENE_S * self._composer.rate)
        while True:
            for place in self._rng.permutation(len(self.spoken)):
                recording, samples = self.spoken[int(place)]
                yield recording, samples[:longest]


def name_of(recording: Recording) -> str:
    """Corpus and file."""
    return f"{recording.corpus}/{recording.path.name}"


def speech_lines(composer: Composer, hours: float, seed: int, hear: Callable[[Scene], Sequence[float]]) -> list[str]:
    """What `hear` (a scene to the onsets of its coughs, in seconds) makes of so many hours of speech, as lines."""
    if EVENT not in composer.by_kind:
        return ["speech: no test recording of it"]
    talk = Talk(composer, seed)
    causes: Counter[str] = Counter()
    spoken_s = 0.0
    with tqdm(desc="speech", unit="scene") as bar:
        while spoken_s < 3600 * hours:
            scene = talk.scene()
            spoken_s += sum(placed.stop_s - placed.start_s for placed in scene.placed)
            causes.update(scene.cause(time) for time in hear(scene))
            bar.update()
    found, spoken_h = sum(causes.values()), spoken_s / 3600
    rate = poisson_interval(found)
    minutes = sum(len(samples) for _, samples in talk.spoken) / composer.rate / 60
    people = len({recording.group for recording, _ in talk.spoken})
    lines = [
        f"speech: {spoken_h:.1f} h, {minutes:.1f} minutes of {people} people over and over; {found} false coughs, "
        f"{found / spoken_h:.2f} an hour [{rate.low / spoken_h:.2f}, {rate.high / spoken_h:.2f}]"
    ]
    return lines + [f"  {number:>4}  {name}" for name, number in causes.most_common()]
