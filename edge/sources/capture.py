"""The child that records from a microphone: ``python -m edge.sources.capture {listen DEVICE CHANNEL,list}``.

`listen` opens one input with PortAudio at its own rate and writes its sound to standard output (`edge.sources.framing`)
until it is killed; sound that PortAudio has lost is a jump in the positions. `list` writes all inputs as one JSON list.
What goes wrong is one line on standard error that begins with ``error:``.

It is a process of its own because PortAudio may hang or crash when a device is unplugged, and sees new devices only
when it starts anew. It imports as little as it can, to start fast and stay small: named tuples, because dataclasses
load 1 MB of other modules. Does not: mix, resample, judge, or try again.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import pyaudio

from edge.sources import framing
from edge.sources.cards import PULSE, Card, PulseSource, is_card, pulse_sources, sound_cards
from edge.sources.leash import die_with_parent
from edge.sources.sampleclock import SampleClock

BLOCK_S = 0.1
"""Also the period of the device's own buffer, which holds a few of them."""
USUAL_RATES_HZ = (48_000, 44_100, 16_000)
SLIP_S = 1.0
"""PulseAudio does not tell when it drops sound. Whatever is so late although nothing waits to be read has lost some."""
SLIP_BLOCKS = 10
"""So often in a row; a single block may be late."""
MOST_CHANNELS = 64
PLUGIN_CHANNELS = 2
"""Of an ALSA plugin, which offers any number."""

_PLUMBING = frozenset(
    ("sysdefault", "lavrate", "samplerate", "speexrate", "speex", "upmix", "vdownmix", "dmix", "jack", "oss", "a52")
)
"""What ALSA's own configuration defines everywhere: other ways to a card that is listed, or none. They can be opened by
name all the same."""

PULSE_ALONE = Path(__file__).with_name("pulse.conf")

_UNFIT = (pyaudio.paInvalidSampleRate, pyaudio.paInvalidChannelCount, pyaudio.paSampleFormatNotSupported)
_HARDWARE = re.compile(r"\(hw:(\d+),(\d+)\)$")


class Input(NamedTuple):
    """Something to record from.

    identity: what `source.device` calls it.
    label: what PortAudio or PulseAudio calls it.
    number: of PortAudio, good until it ends.
    """

    identity: str
    label: str
    number: int
    rate_hz: int
    channels: int


def main() -> None:
    """Do what the command line says."""
    die_with_parent()
    command, *arguments = sys.argv[1:]
    if command == "list":
        print(json.dumps([found._asdict() for found in inputs(pyaudio.PyAudio())]))
        return
    device, channel = arguments
    if device.startswith(PULSE):
        _show_pulse_alone()
    _listen(pyaudio.PyAudio(), device, int(channel))


def _show_pulse_alone() -> None:
    """Let ALSA define nothing but its way to PulseAudio, unless somebody has told it what to read.

    PortAudio opens all that is defined, and ALSA's plugins load FFmpeg and more for it: 15 MB that stay to the end.
    """
    # ALSA splits the variable at colons and spaces, and expands each part as a shell would.
    if re.fullmatch(r"[\w./+@-]+", str(PULSE_ALONE)):
        os.environ.setdefault("ALSA_CONFIG_PATH", str(PULSE_ALONE))


def inputs(audio: pyaudio.PyAudio) -> list[Input]:
    """Everything that can be recorded from: cards, ALSA's plugins, and the sources of PulseAudio."""
    found, cards, pulse = [], {card.number: card for card in sound_cards()}, pulse_sources()
    for device in _alsa_inputs(audio):
        index, name, rate_hz = device["index"], device["name"], int(device["defaultSampleRate"])
        channels = min(device["maxInputChannels"], MOST_CHANNELS)
        hardware = _HARDWARE.search(name)
        if hardware and (card := cards.get(int(hardware[1]))):
            part = "" if hardware[2] == "0" else f",{hardware[2]}"
            found.append(Input((card.usb or card.id) + part, name, index, rate_hz, channels))
        elif name == "pulse" and pulse is not None:
            found += [Input(PULSE + each.name, each.name, index, each.rate_hz, each.channels) for each in pulse]
        elif not hardware and name not in _PLUMBING:
            found.append(Input(name, name, index, rate_hz, min(channels, PLUGIN_CHANNELS)))
    return found


def choose(audio: pyaudio.PyAudio, device: str, channel: int) -> Input:
    """The input that a setting names; empty: PortAudio's default. SystemExit, with the reason, where there is none."""
    if device.startswith(PULSE):
        return _choose_pulse(audio, device.removeprefix(PULSE))
    devices = _alsa_inputs(audio)
    if not devices:
        sys.exit("error: this machine has no sound input")
    if not device:
        default = _alsa(audio).get("defaultInputDevice", -1)
        return _input([each for each in devices if each["index"] == default] or devices, device, channel)
    wanted, _, part = device.partition(",")
    cards = [card for card in sound_cards() if is_card(card, wanted)]
    matching = [each for each in devices if _is_part(each["name"], cards, part)]
    return _input(matching or [each for each in devices if each["name"] == device], device, channel)


def _choose_pulse(audio: pyaudio.PyAudio, name: str) -> Input:
    sources = pulse_sources()
    known = {source.name: source for source in sources or []}
    if sources is not None and name not in known:
        sys.exit(f"error: PulseAudio has no source {name}, only: {', '.join(known) or 'none'}")
    plugin = [device for device in _alsa_inputs(audio) if device["name"] == "pulse"]
    if not plugin:
        sys.exit("error: PulseAudio cannot be reached: is it running, and is libasound2-plugins installed?")
    os.environ["PULSE_SOURCE"] = name  # which ALSA's plugin obeys
    # Without pactl the server is asked for the source by its name alone, and converts what it has.
    source = known.get(name, PulseSource(name, int(plugin[0]["defaultSampleRate"]), PLUGIN_CHANNELS))
    return Input(PULSE + name, name, plugin[0]["index"], source.rate_hz, source.channels)


def _input(devices: list[dict[str, Any]], device: str, channel: int) -> Input:
    if not devices:
        sys.exit(f"error: there is no input {device}: plug it in, or choose one of python -m edge devices")
    name, most = devices[0]["name"], min(devices[0]["maxInputChannels"], MOST_CHANNELS)
    channels = most if _HARDWARE.search(name) else min(most, max(channel, PLUGIN_CHANNELS))
    return Input(device, name, devices[0]["index"], int(devices[0]["defaultSampleRate"]), channels)


def _is_part(name: str, cards: list[Card], part: str) -> bool:
    hardware = _HARDWARE.search(name)
    if hardware is None or (part and hardware[2] != part):
        return False
    return int(hardware[1]) in [card.number for card in cards]


def _alsa(audio: pyaudio.PyAudio) -> dict[str, Any]:
    for index in range(audio.get_host_api_count()):
        api: dict[str, Any] = dict(audio.get_host_api_info_by_index(index))
        if api["type"] == pyaudio.paALSA:
            return api
    sys.exit("error: this PortAudio was built without ALSA")


def _alsa_inputs(audio: pyaudio.PyAudio) -> list[dict[str, Any]]:
    api = _alsa(audio)["index"]
    devices = [dict(audio.get_device_info_by_index(index)) for index in range(audio.get_device_count())]
    return [device for device in devices if device["hostApi"] == api and device["maxInputChannels"] > 0]


def _listen(audio: pyaudio.PyAudio, device: str, channel: int) -> None:
    stream, opened = open_stream(audio, choose(audio, device, channel), channel)
    _write(framing.pack_format(channels=opened.channels, rate_hz=opened.rate_hz))
    _write_on(stream, opened, max(1, round(BLOCK_S * opened.rate_hz)))


def open_stream(audio: pyaudio.PyAudio, chosen: Input, channel: int) -> tuple[Any, Input]:
    """A running stream, and the input with the rate and channels that it took.

    Some devices have no way to give all their channels at their default rate; another rate or fewer channels, of which
    `channel` must be one, are tried then. SystemExit, with the reason of the first attempt, where nothing works.
    """
    reason = ""
    for rate_hz in dict.fromkeys((chosen.rate_hz, *USUAL_RATES_HZ)):
        for channels in dict.fromkeys((chosen.channels, 2, 1)):
            if not channel <= channels <= chosen.channels:
                continue
            try:
                # PortAudio opens the device in its own format of the most bits, and converts that to floats.
                stream = audio.open(
                    rate=rate_hz,
                    channels=channels,
                    format=pyaudio.paFloat32,
                    input=True,
                    input_device_index=chosen.number,
                    frames_per_buffer=max(1, round(BLOCK_S * rate_hz)),
                )
            except (OSError, ValueError) as error:
                reason = reason or f"{chosen.label} cannot be opened at {rate_hz} Hz: {_words(error)}"
                if getattr(error, "errno", None) not in _UNFIT:
                    sys.exit(f"error: {reason}")
            else:
                return stream, chosen._replace(rate_hz=rate_hz, channels=channels)
    sys.exit(f"error: {reason}")


def _write_on(stream: Any, chosen: Input, frames: int) -> None:
    clock, position, late = SampleClock(chosen.rate_hz), 0, 0
    while True:
        samples, has_lost = _read(stream, chosen, frames)
        now = time.monotonic()
        due = clock.due(now) - frames
        is_late = due - position > SLIP_S * chosen.rate_hz and stream.get_read_available() < frames
        late = late + 1 if is_late else 0
        if has_lost or late >= SLIP_BLOCKS:
            position, late = max(position, due), 0
        _write(framing.pack_sound(position=position, frames=frames) + samples)
        position += frames
        clock.note(position, now)


def _read(stream: Any, chosen: Input, frames: int) -> tuple[bytes, bool]:
    """The next samples, and whether some were lost before them."""
    has_lost = False
    while True:
        try:
            return stream.read(frames), has_lost
        except OSError as error:  # noqa: PERF203 - where else
            if error.errno != pyaudio.paInputOverflowed:
                sys.exit(f"error: {chosen.label} gives no more sound: {_words(error)}")
            has_lost = True


def _words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _write(data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[os.write(sys.stdout.fileno(), rest) :]
    except BrokenPipeError:
        sys.exit()


if __name__ == "__main__":
    main()
