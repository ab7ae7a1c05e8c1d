"""`python -m edge devices` on a real PulseAudio: what it lists, how loud it is, and what cannot be heard."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edge.devices import Device, table
from tests.sound_servers import SoundServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sound_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with SoundServer(monkeypatch) as server:
        yield server


def devices(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "devices", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_devices_lists_each_input_with_rate_channels_and_level(sound_server):
    sound_server.plug_in("ward", rate_hz=32_000, channels=2)
    sound_server.plug_in("hall")
    seconds = np.arange(60 * 32_000) / 32_000
    tone = (0.1 * np.sin(2 * np.pi * 500 * seconds)).astype(np.float32)
    with sound_server.playing("ward", np.stack([tone, 0 * tone], axis=1), 32_000):
        listed = json.loads(devices("--json").stdout)
    ward, hall = (next(each for each in listed if each["label"] == f"{name}.monitor") for name in ("ward", "hall"))
    assert (ward["identity"], ward["rate_hz"], ward["channels"]) == ("pulse:ward.monitor", 32_000, 2)
    assert (hall["identity"], hall["rate_hz"], hall["channels"]) == ("pulse:hall.monitor", 48_000, 1)
    assert -30.0 < ward["levels_dbfs"][0] < -22.0
    assert ward["levels_dbfs"][1] == hall["levels_dbfs"][0] == -120.0
    assert ward["trouble"] == ""


def test_table_has_a_line_for_each_device_with_its_levels_or_its_trouble():
    devices = [
        Device("Device,2", "USB PnP (hw:1,2)", 48_000, 2, (-23.04, -120.0)),
        Device("pulse:hall", "hall", 44_100, 1, (), "hall cannot be opened at 44100 Hz: device unavailable"),
    ]
    assert list(table(devices)) == [
        "Device,2  48000 Hz  2 channels  -23.0 dBFS, silent  (USB PnP (hw:1,2))",
        "pulse:hall  44100 Hz  1 channel  hall cannot be opened at 44100 Hz: device unavailable  (hall)",
    ]


def test_devices_of_a_machine_without_any_says_so(sound_server):
    sound_server.stop()
    done = devices()
    assert (done.returncode, done.stdout) == (0, "")
    assert "no sound input: plug one in" in done.stderr
    assert devices("--json").stdout == "[]\n"


def test_devices_without_pyaudio_names_what_to_install():
    program = "import sys; sys.modules['pyaudio'] = None; from edge.__main__ import main; sys.exit(main(['devices']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: a microphone needs PyAudio: pip install 'acula-edge[mic]'\n"
