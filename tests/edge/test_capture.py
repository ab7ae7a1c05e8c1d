"""How an input is found, opened and counted, on stand-ins: sound cards and overflows, which no test machine has."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pyaudio
import pytest

from edge.sources import capture
from edge.sources.capture import Input
from edge.sources.cards import Card
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


class Audio:
    """PortAudio as it shows two cards and a plugin, and a host interface that is not asked."""

    def __init__(self, *refused: tuple[int, int], errno: int = pyaudio.paInvalidSampleRate) -> None:
        names = [
            ("USB PnP Sound Device: Audio (hw:2,0)", 2),
            ("NVIDIA Jetson APE: - (hw:1,0)", 16),
            ("NVIDIA Jetson APE: - (hw:1,3)", 16),
            ("HDMI (hw:0,3)", 0),
            ("default", 128),
            ("sysdefault", 128),
        ]
        self.opened: list[tuple[int, int]] = []
        self._errno = errno
        self._refused = refused
        self._devices = [
            {"index": index, "name": name, "maxInputChannels": most, "defaultSampleRate": 44100.0, "hostApi": 1}
            for index, (name, most) in enumerate(names)
        ]
        self._devices.append({**self._devices[0], "index": 6, "hostApi": 0, "name": "system"})

    def get_host_api_count(self) -> int:
        return 2

    def get_host_api_info_by_index(self, index: int) -> dict[str, object]:
        return {"index": index, "type": (pyaudio.paJACK, pyaudio.paALSA)[index], "defaultInputDevice": 4}

    def get_device_count(self) -> int:
        return len(self._devices)

    def get_device_info_by_index(self, index: int) -> dict[str, object]:
        return self._devices[index]

    def open(self, *, rate: int, channels: int, **_: object) -> str:
        self.opened.append((rate, channels))
        if (rate, channels) in self._refused:
            raise OSError(self._errno, "Refused")
        return "stream"


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [Card(2, "Device", "usb-0d8c:0014-A1"), Card(1, "APE", ""), Card(0, "HDA", "")]
    monkeypatch.setattr(capture, "sound_cards", lambda: shown)
    monkeypatch.setattr(capture, "pulse_sources", lambda: None)


@pytest.mark.parametrize(
    ("device", "index", "channels"),
    [
        ("Device", 0, 2),
        ("usb-0d8c:0014-A1", 0, 2),
        ("usb-0d8c:0014", 0, 2),
        ("APE", 1, 16),
        ("APE,3", 2, 16),
        ("default", 4, 2),
        ("", 4, 2),
    ],
)
def test_input_is_found_by_the_name_that_stays(cards, device, index, channels):
    found = capture.choose(Audio(), device, 0)
    assert (found.number, found.channels, found.rate_hz) == (index, channels, 44_100)


@pytest.mark.parametrize("device", ["HDA", "APE,7", "0", "2", "USB PnP Sound Device", "system", "usb-0d8c:0014-B2"])
def test_input_that_is_not_there_is_named(cards, device):
    with pytest.raises(SystemExit, match=rf"error: there is no input {device}: plug it in"):
        capture.choose(Audio(), device, 0)


def test_inputs_are_listed_by_the_names_that_choose_them(cards):
    listed = capture.inputs(Audio())
    assert [each.identity for each in listed] == ["usb-0d8c:0014-A1", "APE", "APE,3", "default"]
    for each in listed:
        assert capture.choose(Audio(), each.identity, 0).number == each.number


def test_plugin_is_opened_with_as_many_channels_as_the_chosen_one_needs(cards):
    assert capture.choose(Audio(), "default", 6).channels == 6


def test_device_that_refuses_its_default_rate_is_opened_at_another(cards):
    audio = Audio((44_100, 2), (44_100, 1), (48_000, 2))
    _, opened = capture.open_stream(audio, capture.choose(audio, "Device", 0), 0)
    assert (opened.rate_hz, opened.channels) == (48_000, 1)


def test_device_is_never_opened_without_the_chosen_channel(cards):
    audio = Audio(*((rate, channels) for rate in (44_100, 48_000, 16_000) for channels in (1, 2)))
    with pytest.raises(SystemExit, match=r"hw:2,0\) cannot be opened at 44100 Hz: refused"):
        capture.open_stream(audio, capture.choose(audio, "Device", 2), 2)
    assert audio.opened == [(44_100, 2), (48_000, 2), (16_000, 2)]


def test_device_that_is_busy_is_told_at_once(cards):
    audio = Audio((44_100, 2), errno=pyaudio.paDeviceUnavailable)
    with pytest.raises(SystemExit, match="cannot be opened"):
        capture.open_stream(audio, capture.choose(audio, "Device", 0), 0)
    assert audio.opened == [(44_100, 2)]


@pytest.mark.parametrize(
    ("folder", "is_read"),
    [("/opt/edge-1.0_a/lib", True), ("/opt/it's", False), ("/opt/$edge", False), ("/opt/a b", False), ("/a:b", False)],
)
def test_alsa_is_given_no_path_that_it_would_read_as_another(monkeypatch, folder, is_read):
    monkeypatch.setattr(capture, "PULSE_ALONE", Path(folder) / "pulse.conf")
    monkeypatch.setattr(os, "environ", {})
    capture._show_pulse_alone()
    assert os.environ == ({"ALSA_CONFIG_PATH": f"{folder}/pulse.conf"} if is_read else {})
