"""What can be recorded from on this machine: names that stay, rates, channels, and how loud it is right now.

Does: asks a capture child, so that PortAudio can neither hang nor crash this program, and listens to each input for
about a second. Does not: keep any sound.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import AudioError
from edge.level import SILENCE_DBFS, measure
from edge.sources.child import Child
from edge.sources.decoding import ChildError, FramedDecoder, Sound
from edge.sources.microphone import capture_command

LIST_S = 30.0
"""PortAudio tries every device of the machine."""
OPEN_S = 15.0
SETTLE_S = 0.2
"""Of the beginning, in which a device may click."""
LEVEL_S = 1.0


@dataclass(frozen=True)
class Device:
    """An input, as it is now."""

    identity: str
    """What `source.device` calls it."""
    label: str
    """What PortAudio or PulseAudio calls it."""
    rate_hz: int
    channels: int
    levels_dbfs: tuple[float, ...] = ()
    """Of each channel, over about a second, as `edge.level` defines it."""
    trouble: str = ""
    """Why it cannot be heard; empty where it can."""


def list_devices() -> Iterator[Device]:
    """Every input, each as soon as it has been listened to.

    Raises:
        AudioError: PyAudio is not installed, or PortAudio does not work here.
    """
    for found in _inputs():
        device = Device(found["identity"], found["label"], found["rate_hz"], found["channels"])
        yield listen(device)


def listen(device: Device) -> Device:
    """The same device with its levels, or with why there are none."""
    child = Child(capture_command("listen", device.identity, "0"))
    try:
        sound, rate_hz = _record(child)
    except ChildError as error:
        return replace(device, trouble=str(error))
    finally:
        child.close()
    levels = (measure(channel, rate_hz).level_dbfs for channel in np.split(sound, sound.shape[1], axis=1))
    return replace(device, levels_dbfs=tuple(round(level, 1) for level in levels if level is not None))


def table(devices: Iterable[Device]) -> Iterator[str]:
    """One line for each device."""
    for device in devices:
        levels = ("silent" if level == SILENCE_DBFS else f"{level:.1f} dBFS" for level in device.levels_dbfs)
        state = device.trouble or ", ".join(levels)
        channels = f"{device.channels} channel{'s' if device.channels > 1 else ''}"
        yield f"{device.identity}  {device.rate_hz} Hz  {channels}  {state}  ({device.label})"


def to_json(devices: Iterable[Device]) -> str:
    """All devices as a JSON list."""
    return json.dumps([asdict(device) for device in devices])


def _inputs() -> list[dict[str, Any]]:
    child = Child(capture_command("list"))
    deadline = time.monotonic() + LIST_S
    text = b""
    try:
        while (data := child.read(max(0.0, deadline - time.monotonic()))) != b"":
            if data is None:
                raise AudioError(f"PortAudio lists no inputs within {LIST_S:g} s: unplug what was plugged in last")
            text += data
        inputs: list[dict[str, Any]] = json.loads(text)
    except json.JSONDecodeError as error:
        raise AudioError(f"PortAudio does not work here: {child.complaint}") from error
    else:
        return inputs
    finally:
        child.close()


def _record(child: Child) -> tuple[NDArray[np.float32], int]:
    """(frames, channels) of about LEVEL_S, and their rate; ChildError with the reason where there are none."""
    decoder, heard = FramedDecoder(), list[Sound]()
    deadline = time.monotonic() + OPEN_S
    while not heard or heard[-1].position < (SETTLE_S + LEVEL_S) * decoder.rate_hz:
        data = child.read(max(0.0, deadline - time.monotonic()))
        if data == b"":
            raise ChildError(child.complaint or "the capture has ended without a word")
        if data is None:
            raise ChildError(f"gives no sound within {OPEN_S:g} s" if decoder.rate_hz else "hangs when it is opened")
        heard.extend(decoder.feed(data))
    settled = round(SETTLE_S * decoder.rate_hz)
    return np.concatenate([sound.samples for sound in heard])[settled:], decoder.rate_hz
