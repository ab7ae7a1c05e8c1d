"""A real PortAudio records from a real PulseAudio whose inputs come and go."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from edge.sources.microphone import microphone
from tests.brokers import PATIENCE_S, Subscriber, eventually
from tests.listening import Recorder
from tests.programs import Daemon
from tests.sound_servers import SoundServer

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sound_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with SoundServer(monkeypatch) as server:
        yield server


def open_microphone(device: str, *, channel: int = 0, stall_s: float = 60.0):
    return microphone(device, channel=channel, stall_s=stall_s, retry_s=0.5, zeros_s=0.0)


def tone(hertz: float, *, rate_hz: int = 48_000, duration_s: float = 1.5) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate_hz * duration_s)) / rate_hz)).astype(np.float32)


def heard_s(samples: np.ndarray, hertz: float, rate_hz: int) -> float:
    """Seconds in which a tone is what there is to hear, in steps of 0.1 s."""
    step = rate_hz // 10
    frames = samples[: len(samples) // step * step].reshape(-1, step)
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(step)))
    loud = np.abs(frames).max(axis=1) > 0.2
    return float(np.sum(loud & (np.abs(spectrum.argmax(axis=1) * 10 - hertz) <= 10)) / 10)


def test_unplugged_microphone_is_a_gap_and_a_replugged_one_is_heard_again(sound_server, logs):
    sound_server.plug_in("ward")
    source = open_microphone("pulse:ward.monitor")
    assert source.name == "microphone:pulse:ward.monitor"
    with Recorder(source) as recorder:
        eventually(lambda: bool(recorder.blocks), "sound")
        assert (source.sample_rate_hz, source.channels, source.trouble) == (48_000, 1, "")
        sound_server.play("ward", tone(1000), 48_000)
        eventually(lambda: heard_s(recorder.samples, 1000, 48_000) >= 0.5, "the first tone")
        sound_server.unplug("ward")
        unplugged = time.monotonic()
        eventually(lambda: source.trouble == "PulseAudio has no source ward.monitor, only: none", "its absence is told")
        plugged = time.monotonic()
        sound_server.plug_in("ward")
        eventually(lambda: source.trouble == "" and bool(recorder.gaps), "sound again")
        sound_server.play("ward", tone(2000), 48_000)
        eventually(lambda: heard_s(recorder.samples, 2000, 48_000) >= 0.5, "the second tone")
        end = recorder.end
        passed_s = time.monotonic() - recorder.begun_s
    gap = max(recorder.gaps, key=lambda each: each[1] - each[0])
    before, after = recorder.between(0, gap[1]), recorder.between(gap[1], end)
    # It lies between the tones, is no shorter than the absence, and no sample lies in the future.
    assert (heard_s(before, 1000, 48_000) >= 0.5, heard_s(before, 2000, 48_000)) == (True, 0)
    assert (heard_s(after, 2000, 48_000) >= 0.5, heard_s(after, 1000, 48_000)) == (True, 0)
    assert (gap[1] - gap[0]) / 48_000 > plugged - unplugged
    assert end / 48_000 < passed_s
    assert [entry["event"] for entry in logs if entry["event"] == "sound_is_back"] == ["sound_is_back"]


def test_microphone_that_is_absent_at_the_start_is_heard_once_it_is_there_and_at_its_own_rate(sound_server):
    sound_server.plug_in("other")
    source = open_microphone("pulse:ward.monitor", channel=2)
    with Recorder(source) as recorder:
        eventually(lambda: "no source ward.monitor, only: other.monitor" in source.trouble, "its absence")
        assert recorder.blocks == []
        sound_server.plug_in("ward", rate_hz=32_000, channels=2)
        eventually(lambda: bool(recorder.blocks), "sound")
        assert source.sample_rate_hz == 32_000
        left, right = tone(1000, rate_hz=32_000), tone(2000, rate_hz=32_000)
        sound_server.play("ward", np.stack([left, right], axis=1), 32_000)
        eventually(lambda: heard_s(recorder.samples, 2000, 32_000) >= 0.5, "the second channel")
    assert heard_s(recorder.samples, 1000, 32_000) == 0


def test_server_that_dies_and_returns_is_survived(sound_server):
    sound_server.plug_in("ward")
    source = open_microphone("pulse:ward.monitor")
    with Recorder(source) as recorder:
        eventually(lambda: bool(recorder.blocks), "sound")
        sound_server.stop()
        eventually(lambda: "PulseAudio cannot be reached" in source.trouble, "trouble")
        sound_server.start()
        sound_server.plug_in("ward")
        eventually(lambda: source.trouble == "", "sound again")


def test_machine_without_any_input_says_so(sound_server):
    sound_server.stop()
    source = open_microphone("")
    with Recorder(source):
        eventually(lambda: source.trouble == "this machine has no sound input", "trouble")


def test_device_that_is_not_there_is_named(sound_server):
    sound_server.plug_in("ward")
    source = open_microphone("usb-0d8c:0014-A1")
    with Recorder(source):
        eventually(lambda: "there is no input usb-0d8c:0014-A1: plug it in" in source.trouble, "trouble")


def test_sound_that_nobody_fetched_in_time_is_a_gap(sound_server):
    """The child is held up for longer than PulseAudio keeps the sound of so many channels: it drops some, untold."""
    sound_server.plug_in("ward", rate_hz=96_000, channels=8)
    source = open_microphone("pulse:ward.monitor")
    with Recorder(source) as recorder:
        eventually(lambda: len(recorder.blocks) > 3, "sound")
        (child,) = (process for process in psutil.Process().children() if "edge.sources.capture" in process.cmdline())
        child.suspend()
        time.sleep(5)
        child.resume()
        eventually(lambda: sum(end - begin for begin, end in recorder.gaps) > 2 * 96_000, "the gap")
        end = recorder.end
        passed_s = time.monotonic() - recorder.begun_s
    assert end / 96_000 < passed_s
    assert source.trouble == ""


def test_capture_from_pulseaudio_loads_no_decoders(sound_server):
    """ALSA's plugins that go by FFmpeg are opened by PortAudio wherever ALSA's own configuration is read."""
    sound_server.plug_in("ward")
    with Recorder(open_microphone("pulse:ward.monitor")) as recorder:
        eventually(lambda: bool(recorder.blocks), "sound")
        (child,) = (process for process in psutil.Process().children() if "edge.sources.capture" in process.cmdline())
        loaded = {Path(each.path).name.partition(".")[0] for each in child.memory_maps()}
    assert "libasound_module_pcm_pulse" in loaded
    assert "libavcodec" not in loaded


def test_configuration_that_somebody_has_chosen_for_alsa_is_obeyed(sound_server, monkeypatch, tmp_path):
    chosen = tmp_path / "asound.conf"
    chosen.write_text("pcm.default { type null }\n")
    monkeypatch.setenv("ALSA_CONFIG_PATH", str(chosen))
    sound_server.plug_in("ward")
    source = open_microphone("pulse:ward.monitor")
    with Recorder(source):
        eventually(lambda: "PulseAudio cannot be reached" in source.trouble, "trouble")


@pytest.mark.broker
def test_daemon_hears_coughs_before_and_after_its_microphone_was_unplugged(
    sound_server, tiny_bundle_path, tmp_path, broker, sounds
):
    sound_server.plug_in("ward")
    microphone = ("--source.kind", "microphone", "--source.device", "pulse:ward.monitor")
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *microphone) as daemon:
        eventually(lambda: "online" in subscriber.states(), "status online")

        def status() -> dict[str, str]:
            return subscriber.payloads("/status")[-1]

        def cough() -> None:
            """Cough until one more event comes: what is played first may not be heard yet."""
            heard, deadline = len(subscriber.event_ids()), time.monotonic() + PATIENCE_S
            while len(subscriber.event_ids()) == heard and time.monotonic() < deadline:
                sound_server.play("ward", sounds(48_000, 2.0, coughs=[0.5]), 48_000)

        cough()
        sound_server.unplug("ward")
        eventually(lambda: "PulseAudio has no source ward.monitor" in status()["reason"], "trouble")
        assert status()["state"] == "degraded"
        before = len(subscriber.event_ids())
        sound_server.plug_in("ward")
        eventually(lambda: "PulseAudio" not in status()["reason"], "no trouble any more")
        cough()
        assert daemon.stop() == 0, daemon.errors()
        events = subscriber.payloads("/event")
    assert 1 <= before < len(events)
    assert {(event["label"], event["source"]) for event in events} == {("cough", "microphone:pulse:ward.monitor")}
    onsets = [event["onset"] for event in events]
    assert onsets == sorted(onsets)


def test_microphone_without_pyaudio_names_what_to_install():
    program = "import sys; sys.modules['pyaudio'] = None; from edge.__main__ import main; sys.exit(main(['run']))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "error: a microphone needs PyAudio: pip install 'acula-edge[mic]'\n")
