"""A source that a child process records: watches the child, and starts it anew for as long as it takes.

Does: ends a child that is silent, floods, sends nonsense or has ended, tries again with growing pauses, and says
meanwhile what is wrong. Does not: know what the child records from (`edge.sources.microphone`, `edge.sources.url`).
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import structlog

from edge.sources.base import Block
from edge.sources.child import Child
from edge.sources.decoding import ChildError, Decoder, Sound
from edge.sources.timeline import Timeline

log = structlog.get_logger()

STARTING = "no sound yet"
"""The trouble of a source whose child has not failed so far."""
POLL_S = 0.2
"""How soon a closed source stops waiting for its child."""
FIRST_RETRY_S = 0.5
HEALTHY_S = 10.0
"""After so much sound, the next failure is a new one, and the pauses begin anew."""
SHORTEST_GAP_S = 0.01
"""Between two children, where a stream that came ahead of its time leaves none."""
LATE_S = 1.0
"""Sound that comes later than this, and does so for `Limits.slip_s`, has left some out."""
RATE_TOLERANCE = 1.05
"""A device may be so much faster than its nominal rate."""
STALL_CREDIT_S = 60.0
"""What a reader that was held up, or a device that lost sound, may make up for."""


@dataclass(frozen=True)
class Limits:
    """What is asked of a child; all in seconds."""

    stall_s: float
    """Without sound for so long, it has hung."""
    retry_s: float
    """Longest pause between two attempts."""
    zeros_s: float
    """Nothing but zeros for so long is told as trouble, and what follows of them is a gap; 0: never."""
    burst_s: float
    """So much sound may come ahead of its time, as a stream's buffer at the start."""
    opening_s: float = 20.0
    """What a child has for opening its device; PortAudio tries every device of the machine first."""
    slip_s: float = 0.0
    """A stream whose sound has all been late for so long has left some out; 0: the child tells what it has lost."""


class SupervisedSource:
    """Mono sound from a child process. Owns the child."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        decoder: Callable[[], Decoder],
        *,
        channel: int,
        limits: Limits,
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        """Nothing is started before `blocks`.

        Args:
            name: the `source` of its events.
            command: the child: program and arguments.
            decoder: makes a decoder for each child.
            channel: the only one to hear, counted from 1; 0: the mean of all.
            limits: when to start it anew.
            redact: takes what must not be shown out of the child's complaints.
        """
        self.name = name
        self.sample_rate_hz = 0
        self.channels = 1
        self.trouble = STARTING
        self._command = command
        self._decoder = decoder
        self._limits = limits
        self._redact = redact
        self._timeline = Timeline(channel)
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._child: Child | None = None
        self._failures = 0
        self._told = ""
        self._lost_at = time.monotonic()
        self._zeros = 0

    def blocks(self) -> Iterator[Block]:
        """Blocks until the source is closed; it waits for a device that is absent, for as long as it takes."""
        while not self._closed.is_set():
            yield from self._hear()

    def close(self) -> None:
        """End the child and a running `blocks`."""
        self._closed.set()
        with self._guard:
            if self._child is not None:
                self._child.stop()

    def _hear(self) -> Iterator[Block]:
        """Blocks of one child, and the pause after its end."""
        child: Child | None = None
        try:
            child = self._start()
            yield from self._listen(child)
        except ChildError as error:
            reason = str(error)
        else:
            return
        finally:
            with self._guard:
                self._child = None
            if child is not None:
                child.close()
        if not self._closed.is_set():
            self._closed.wait(self._fail(reason))

    def _start(self) -> Child:
        with self._guard:
            if self._closed.is_set():
                raise ChildError("closed")
            try:
                self._child = Child(self._command)
            except OSError as error:
                raise ChildError(f"{self._command[0]} cannot be started: {error.strerror}") from error
            return self._child

    def _listen(self, child: Child) -> Iterator[Block]:
        decoder, pace, slip = self._decoder(), _Pace(self._limits.burst_s), _Slip(self._limits.slip_s)
        yield from self._timeline.restart(SHORTEST_GAP_S)
        patience_s = max(self._limits.opening_s, self._limits.stall_s)
        last = time.monotonic()
        heard_s = 0.0
        while not self._closed.is_set():
            data = child.read(POLL_S)
            now = time.monotonic()
            if data == b"":
                child.close()
                raise ChildError(self._redact(child.complaint) or "the capture has ended without a word")
            for sound in decoder.feed(data) if data else ():
                pace.check(sound, decoder.rate_hz, now)
                heard_s += len(sound.samples) / decoder.rate_hz
                for block in self._timeline.place(sound, decoder.rate_hz, now):
                    if self._is_sound(block, heard_s):
                        yield block
                if left_out_s := slip.left_out_s(self._timeline.late_s(now), now):
                    yield from self._timeline.skip(left_out_s)
                # After the reader has had its time with the block, which says nothing of the child.
                last, patience_s = time.monotonic(), self._limits.stall_s
            if now - last > patience_s:
                raise ChildError(self._redact(child.complaint) or f"no sound for {patience_s:g} s")

    def _is_sound(self, block: Block, heard_s: float) -> bool:
        """Whether a block is to be heard; from a device that is muted nobody hears anything, which is a gap."""
        self.sample_rate_hz = self._timeline.rate_hz
        if self._told:
            log.info("sound_is_back", source=self.name, after_s=round(time.monotonic() - self._lost_at, 1))
            self._told = ""
        if heard_s > HEALTHY_S:
            self._failures = 0
        self._zeros = 0 if block.samples.any() else self._zeros + len(block.samples)
        zeros_s = self._zeros / self.sample_rate_hz
        if not (self._limits.zeros_s and zeros_s >= self._limits.zeros_s):
            self.trouble = ""
            return True
        if not self.trouble:
            self.trouble = f"nothing but zeros for {zeros_s:.0f} s: muted, or not plugged in?"
            log.warning("digital_silence", source=self.name, zeros_s=round(zeros_s))
        return False

    def _fail(self, reason: str) -> float:
        """Tell a failure, once for each reason; the pause before the next attempt."""
        self._zeros = 0
        self.trouble = reason
        pause_s = min(self._limits.retry_s, FIRST_RETRY_S * 2.0 ** min(self._failures, 30))
        self._failures += 1
        if not self._told:
            self._lost_at = time.monotonic()
        if reason != self._told:
            action = f"tried again for as long as it takes, at most every {self._limits.retry_s:g} s"
            log.warning("no_sound", source=self.name, reason=reason, action=action)
            self._told = reason
        # Several devices at one server must not come back in step.
        return pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class _Pace:
    """Sound comes as fast as time goes."""

    def __init__(self, burst_s: float) -> None:
        self._burst_s = burst_s
        self._end = 0
        self._ahead_s = 0.0
        self._checked = time.monotonic()

    def check(self, sound: Sound, rate_hz: int, now_s: float) -> None:
        """ChildError when more has come, or been counted, than time allows."""
        end = sound.position + len(sound.samples)
        passed_s = RATE_TOLERANCE * (now_s - self._checked)
        self._ahead_s = max(-STALL_CREDIT_S, self._ahead_s + (end - self._end) / rate_hz - passed_s)
        self._end, self._checked = end, now_s
        if self._ahead_s > self._burst_s:
            raise ChildError("delivers more sound than time allows")


class _Slip:
    """Notices what a stream has left out without a word, as a camera whose network stood still.

    All that follows is late then; a stream that comes in large pieces is late by turns.
    """

    def __init__(self, slip_s: float) -> None:
        self._slip_s = slip_s
        self._in_time_at: float | None = None
        self._least_s = 0.0

    def left_out_s(self, late_s: float, now_s: float) -> float:
        """Seconds that were left out, to be asked of every block as it comes; 0 as a rule."""
        if self._in_time_at is None or late_s <= LATE_S or not self._slip_s:
            self._in_time_at, self._least_s = now_s, math.inf
            return 0.0
        self._least_s = min(self._least_s, late_s)
        if now_s - self._in_time_at < self._slip_s:
            return 0.0
        left_out_s, self._in_time_at, self._least_s = self._least_s, now_s, math.inf
        return left_out_s
