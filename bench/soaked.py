"""The device of `bench.soak` and what is done to it: faults by chance, sound with gaps, a clock that is set.

Does: plans the faults, and runs the daemon in this process on sound without end whose sample count stands just below
2^31 or 2^32, in step with the process that started it. Does not: kill the broker, fill the disk or count anything
(`bench.soak` does). The daemon is the one that `edge run` runs; only its source and the time of day are ours.
"""

from __future__ import annotations

import json
import math
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args
from unittest.mock import patch

import numpy as np

from edge import clock, daemon
from edge.config import Settings
from edge.errors import exit_status
from edge.listeners import Named
from edge.scene import compose_scene
from edge.sources.base import Block
from edge.synthesis import SAMPLE_RATE_HZ

TICK_S = 10.0
"""The two processes wait for each other at every so many seconds of sound."""
LEAD_S = 60.0
"""How far below the power of two the count begins."""
_BLOCK = SAMPLE_RATE_HZ // 2
_QUIET = 0.05
"""Share of the sound at its begin and at its end without a fault."""
_LONGEST_STALL_S = 2.5
"""Of real time; after two seconds the device hears what came before to its end."""
_SHORTEST_S, _LONGEST_S = 30.0, 600.0
"""Of sound: how long broker, disk and clock are gone."""

Kind = Literal["broker", "disk", "stall", "clock"]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong."""

    at_s: float
    """Seconds of sound heard before."""
    kind: Kind
    size: float
    """0..1: how far or how long, for what has no end."""
    end_s: float
    """Seconds of sound heard when it is over, for what has one."""
    number: int
    """Among those of its kind, from 0."""


@dataclass(frozen=True)
class Task:
    """What the device has to do, as one line of JSON on its command line."""

    sound_s: float
    bits: int
    """The sample count begins LEAD_S below 2 to the power of this."""
    each: int
    seed: int
    scene_s: float


def plan(task: Task) -> list[Fault]:
    """Faults in order; of each kind one at a random place of every equal share of the sound."""
    chance = random.Random(task.seed)  # noqa: S311 - places of faults
    begin_s, share_s = _QUIET * task.sound_s, (1.0 - 2.0 * _QUIET) * task.sound_s / task.each
    longest_s = min(_LONGEST_S, share_s / 2.0)
    faults = []
    for kind in get_args(Kind):
        for number in range(task.each):
            at_s = begin_s + share_s * (number + chance.uniform(0.0, 0.5))
            end_s = at_s + chance.uniform(_SHORTEST_S, longest_s)
            faults.append(Fault(at_s, kind, chance.random(), end_s, number))
    return sorted(faults, key=lambda fault: fault.at_s)


class SettableClock:
    """The time of day as somebody sets it: by up to an hour either way, or lost and found again."""

    def __init__(self) -> None:
        self.is_set = True
        self._offset = timedelta()
        self._until_s = 0.0
        self._now = clock.utc_now

    def now(self) -> datetime:
        """In place of `edge.clock.utc_now`."""
        return self._now() + self._offset

    def strike(self, fault: Fault) -> None:
        """Every other time the clock stands at 1970 and says that nobody set it; else it is moved."""
        if fault.number % 2:
            self.is_set, self._offset = False, datetime(1970, 1, 1, tzinfo=self._now().tzinfo) - self._now()
            self._until_s = fault.end_s
        elif self.is_set:
            self._offset = timedelta(seconds=7200.0 * (fault.size - 0.5))

    def turn(self, heard_s: float) -> None:
        """Set a lost clock right once it is time."""
        if not self.is_set and heard_s >= self._until_s:
            self._offset = timedelta()
            self.is_set = True


class Sound:
    """A scene over and over, as fast as it is taken; a source."""

    name = "soak"
    sample_rate_hz = SAMPLE_RATE_HZ
    channels = 1

    def __init__(self, task: Task, settable: SettableClock) -> None:
        self.trouble = ""
        self._task = task
        self._clock = settable
        self._samples = compose_scene(task.scene_s, seed=task.seed).samples[:, None]
        self._faults = [each for each in plan(task) if each.kind in ("stall", "clock")]
        self._closed = threading.Event()

    def blocks(self) -> Iterator[Block]:
        """One block at 0 and then, as if nothing had come for a day or more, all others near the power of two."""
        yield Block(0, self._samples[:_BLOCK])
        position = 2**self._task.bits - round(LEAD_S * SAMPLE_RATE_HZ)
        ticks = 0
        for heard in range(0, round(self._task.sound_s * SAMPLE_RATE_HZ), _BLOCK):
            heard_s = heard / SAMPLE_RATE_HZ
            if heard_s >= ticks * TICK_S:
                ticks += 1
                if not self._in_step(heard_s):
                    return
            position += self._strike(heard_s)
            yield Block(position, self._cut(heard))
            position += _BLOCK
        self._clock.turn(math.inf)
        self.trouble = "the sound is over"  # so that it is heard to its end before the source is closed
        self._in_step(self._task.sound_s)
        self._closed.wait()

    def close(self) -> None:
        """End the blocks."""
        self._closed.set()

    def _cut(self, heard: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        indices = np.arange(heard, heard + _BLOCK)
        return np.take(self._samples, indices, axis=0, mode="wrap")

    def _strike(self, heard_s: float) -> int:
        """Do what has come due; returns the samples that are missing here."""
        self._clock.turn(heard_s)
        missing = 0
        while self._faults and self._faults[0].at_s <= heard_s:
            fault = self._faults.pop(0)
            if fault.kind == "clock":
                self._clock.strike(fault)
                continue
            self.trouble = "stalled"
            self._closed.wait(_LONGEST_STALL_S * fault.size)
            self.trouble = ""
            missing += 1 + round(300.0 * fault.size**4 * SAMPLE_RATE_HZ)  # from a sample to five minutes
        return missing

    def _in_step(self, heard_s: float) -> bool:
        """Tell how far it is, and wait for the word to go on; False where none comes."""
        print(heard_s, flush=True)
        return bool(sys.stdin.readline())


def main(arguments: list[str]) -> int:
    """Run the daemon; `arguments` are the task and the settings, as JSON."""
    task, settings = Task(**json.loads(arguments[0])), Settings(**json.loads(arguments[1]))
    settable = SettableClock()
    with (
        patch.object(clock, "utc_now", settable.now),
        patch.object(clock, "is_synchronised", lambda: settable.is_set),
    ):
        sources: list[Named] = [(Sound.name, "fast", Sound(task, settable))]
        return exit_status(lambda: daemon.run(settings, time.monotonic(), sources))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
