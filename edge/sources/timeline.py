"""Places what one child, or one recording, after the other delivers on a single line of samples, at one rate.

Does: turns lost sound and the time between two of them into gaps, resamples a device that came back at another rate to
the first one, and mixes channels. Does not: start children, open files, or know the time of day.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.resample import StreamResampler
from edge.sources.base import Block
from edge.sources.channel import pick
from edge.sources.decoding import Sound
from edge.sources.sampleclock import SampleClock


class Timeline:
    """The blocks of a source whose sound comes and goes: positions only grow, and a jump is a gap."""

    def __init__(self, channel: int) -> None:
        """channel: the only one to hear, counted from 1; 0: the mean of all."""
        self.rate_hz = 0
        """Of all blocks: that of the first; 0 before it."""
        self._channel = channel
        self._clock = SampleClock(1)
        self._end = 0  # where the next block belongs if nothing has been lost
        self._segment: _Segment | None = None

    def restart(self, gap_s: float = 0.0) -> list[Block]:
        """What follows has another beginning, after `gap_s` seconds or, where the clock says more, after that.

        Returns what the resampler still held of the sound before.
        """
        tail = self._finish()
        self._end += round(gap_s * self.rate_hz)
        return tail

    def late_s(self, now_s: float) -> float:
        """By how much less sound has been placed than was recorded until `now_s` of the monotonic clock, in seconds."""
        return (self._clock.due(now_s) - self._end) / self.rate_hz if self.rate_hz else 0.0

    def skip(self, gap_s: float) -> list[Block]:
        """What follows was recorded `gap_s` seconds later than its position says: so much was left out here.

        Returns what the resampler still held of the sound before.
        """
        before = self._segment
        tail = self._finish()
        self._end += round(gap_s * self.rate_hz)
        if before is not None:
            self._segment = _Segment(self._end, before.next_input, before.input_rate_hz, self.rate_hz)
        return tail

    def place(self, sound: Sound, rate_hz: int, now_s: float | None = None) -> list[Block]:
        """The blocks for `sound`, none while the resampler holds it. Their samples are (frames, 1).

        now_s: when it arrived by the monotonic clock, in seconds; None for sound that is not live.

        Raises ChildError where the chosen channel is not among the sound's.
        """
        mono = pick(sound.samples, self._channel)
        if not self.rate_hz:
            self.rate_hz = rate_hz
            self._clock = SampleClock(rate_hz)
        blocks: list[Block] = []
        if self._segment is None:
            frames = round(len(mono) * self.rate_hz / rate_hz)
            start = self._end if now_s is None else max(self._end, self._clock.due(now_s) - frames)
            self._segment = _Segment(start, sound.position, rate_hz, self.rate_hz)
        elif sound.position != self._segment.next_input:
            start = self._segment.output_of(sound.position)
            blocks = self._finish()
            self._segment = _Segment(max(start, self._end), sound.position, rate_hz, self.rate_hz)
        blocks += self._segment.push(mono)
        if blocks:
            self._end = blocks[-1].position + len(blocks[-1].samples)
            if now_s is not None:
                self._clock.note(self._end, now_s)
        return blocks

    def _finish(self) -> list[Block]:
        tail = self._segment.flush() if self._segment else []
        self._segment = None
        if tail:
            self._end = tail[-1].position + len(tail[-1].samples)
        return tail


class _Segment:
    """Sound without a gap: a resampler of its own, and where its next samples come from and go."""

    def __init__(self, start: int, first_input: int, input_rate_hz: int, output_rate_hz: int) -> None:
        self.next_input = first_input
        self.input_rate_hz = input_rate_hz
        self._first_input = first_input
        self._start = start
        self._next_output = start
        self._ratio = output_rate_hz / input_rate_hz
        self._resampler = StreamResampler(input_rate_hz, output_rate_hz, 1)

    def push(self, mono: NDArray[np.float32]) -> list[Block]:
        self.next_input += len(mono)
        return self._blocks(self._resampler.push(mono))

    def flush(self) -> list[Block]:
        return self._blocks(self._resampler.flush())

    def output_of(self, position: int) -> int:
        # From the segment's start, not from what has come out: the resampler keeps the last samples inside.
        return self._start + round((position - self._first_input) * self._ratio)

    def _blocks(self, samples: NDArray[np.float32]) -> list[Block]:
        if not len(samples):
            return []
        samples = samples.reshape(-1, 1)
        samples.flags.writeable = False
        block = Block(self._next_output, samples)
        self._next_output += len(samples)
        return [block]
