"""What PortAudio tells of lost sound becomes a jump; a stand-in for its stream, since no device here can be made to."""

from __future__ import annotations

import itertools

import pyaudio
import pytest

from edge.sources import capture
from edge.sources.capture import Input
from edge.sources.decoding import FramedDecoder

RATE_HZ, FRAMES = 1000, 100


class Stream:
    """A stream with a clock of its own: a number is how long a read takes; True: it tells an overflow instead."""

    def __init__(self, steps: list[float | bool]) -> None:
        self.now = 1000.0
        self.waiting = 0
        self._steps = iter(steps)

    def read(self, frames: int) -> bytes:
        step = next(self._steps, None)
        if step is None:
            raise OSError(pyaudio.paUnanticipatedHostError, "Unplugged")
        if step is True:
            raise OSError(pyaudio.paInputOverflowed, "Input overflowed")
        self.now += step
        return bytes(4 * frames)

    def get_read_available(self) -> int:
        return self.waiting


def positions(stream: Stream, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the blocks were placed, until the device fails."""
    decoder, placed = FramedDecoder(), []
    list(decoder.feed(capture.framing.pack_format(channels=1, rate_hz=RATE_HZ)))
    monkeypatch.setattr(capture, "_write", lambda data: placed.extend(each.position for each in decoder.feed(data)))
    monkeypatch.setattr(capture.time, "monotonic", lambda: stream.now)
    with pytest.raises(SystemExit, match="error: ward gives no more sound: unplugged"):
        capture._write_on(stream, Input("Device", "ward", 0, RATE_HZ, 1), FRAMES)
    return placed


def test_sound_without_loss_is_counted_on_whenever_it_comes(monkeypatch):
    assert positions(Stream([0.1, 0.1, 0.35, 0.0, 0.0, 0.05]), monkeypatch) == [0, 100, 200, 300, 400, 500]


def test_overflow_is_a_jump_of_the_time_that_passed(monkeypatch):
    # The third read tells an overflow, and the next one ends 0.5 s after the second.
    assert positions(Stream([0.1, 0.1, True, True, 0.5, 0.1]), monkeypatch) == [0, 100, 600, 700]


def test_overflow_never_goes_back(monkeypatch):
    assert positions(Stream([0.1, 0.0, 0.0, True, 0.0, 0.1]), monkeypatch) == [0, 100, 200, 300, 400]


def test_sound_that_stays_late_although_none_waits_has_lost_some(monkeypatch):
    placed = positions(Stream([0.1] * 5 + [5.1] + [0.1] * 20), monkeypatch)
    jumps = [later - earlier for earlier, later in itertools.pairwise(placed)]
    assert [jump for jump in jumps if jump != FRAMES] == [pytest.approx(FRAMES + 5000, abs=20)]


def test_sound_that_waits_to_be_read_has_not_been_lost(monkeypatch):
    stream = Stream([0.1] * 5 + [5.1] + [0.1] * 20)
    stream.waiting = 5000
    placed = positions(stream, monkeypatch)
    assert placed == list(range(0, len(placed) * FRAMES, FRAMES))
