"""Names of sound inputs that stay the same when the machine restarts or a plug moves to another port.

Does: reads the identity of each ALSA card, and the sources of a PulseAudio server. Does not: open anything, or know of
PortAudio. The child imports it, so it imports nothing but the standard library, and no dataclasses
(`edge.sources.capture` says why).
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

PULSE = "pulse:"
"""Goes before the name of a PulseAudio source."""

_PACTL_S = 5.0
_SPECIFICATION = re.compile(r"\S+ (?P<channels>\d+)ch (?P<rate>\d+)Hz")


class Card(NamedTuple):
    """An ALSA card."""

    number: int
    """What changes from one start of the machine to the next."""
    id: str
    """What ALSA calls it, as ``Device`` or ``sndrpihifiberry``."""
    usb: str
    """``usb-<vendor>:<product>-<serial>``; a device without a serial number of its own has the port it is in instead.
    Empty for a card that is no USB device."""
    port: str = ""
    """``usb-<vendor>:<product>-port<port>``, which it answers to as well: of two with one serial number, that which is
    left must keep its name while the other is unplugged. Empty as above."""


class PulseSource(NamedTuple):
    """An input of a PulseAudio server (PipeWire has one as well)."""

    name: str
    rate_hz: int
    channels: int


def sound_cards(root: Path = Path("/")) -> list[Card]:
    """The cards of this machine, from /sys, or from /proc/asound where /sys has none."""
    folders = sorted((root / "sys/class/sound").glob("card[0-9]*"))
    identities = [_usb_identities(folder / "device") for folder in folders]
    serials = [serial for serial, _ in identities]
    cards = []
    for folder, (serial, port) in zip(folders, identities, strict=True):
        # Makers give the same number to all of a series.
        usb = serial if serials.count(serial) == 1 else port
        with contextlib.suppress(OSError, ValueError):
            cards.append(Card(int((folder / "number").read_text()), (folder / "id").read_text().strip(), usb, port))
    if not cards:
        with contextlib.suppress(OSError):
            listed = re.findall(r"^ *(\d+) \[(\S+) *\]", (root / "proc/asound/cards").read_text(), re.MULTILINE)
            cards = [Card(int(number), name, "") for number, name in listed]
    return cards


def is_card(card: Card, device: str) -> bool:
    """Whether a setting names this card: by ALSA's id, a USB identity, or by its vendor and product alone."""
    if not device:  # which a card that is no USB device has for its USB identities
        return False
    return device in (card.id, card.usb, card.port) or card.usb.startswith(f"{device}-")


def pulse_sources() -> list[PulseSource] | None:
    """The sources of the user's PulseAudio server; None where there is no server, or no pactl to ask it with."""
    try:
        answer = subprocess.run(
            ["pactl", "list", "short", "sources"], capture_output=True, text=True, timeout=_PACTL_S, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = []
    for line in answer.splitlines():
        fields = line.split("\t")
        if len(fields) > 3 and (told := _SPECIFICATION.search(fields[3])):
            found.append(PulseSource(fields[1], int(told["rate"]), int(told["channels"])))
    return found


def _usb_identities(device: Path) -> tuple[str, str]:
    """By serial number, where there is one, and by port; empty for what is no USB device."""
    place = device.resolve()
    for folder in (place, *place.parents):
        if (folder / "idVendor").is_file():
            make = f"usb-{_read(folder / 'idVendor')}:{_read(folder / 'idProduct')}"
            port = f"{make}-port{folder.name}"
            serial = re.sub(r"[^A-Za-z0-9._]+", "_", _read(folder / "serial"))
            return (f"{make}-{serial}" if serial else port), port
    return "", ""


def _read(file: Path) -> str:
    with contextlib.suppress(OSError):
        return file.read_text().strip()
    return ""
