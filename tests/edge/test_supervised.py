"""A capture child that stops, floods, talks nonsense or will not go is ended and started anew; stand-ins play it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.sources.decoding import FramedDecoder
from edge.sources.supervised import Limits, SupervisedSource
from tests.brokers import eventually
from tests.listening import Recorder
from tests.programs import is_gone

ROOT = Path(__file__).parents[2]

# `life` counts the children of one test from 1. `speak` writes a tenth of a second, in its time unless told otherwise.
PRELUDE = """
import os, signal, subprocess, sys, time
from pathlib import Path
from array import array
from edge.sources import framing
folder = Path(sys.argv[1])
life = len(list(folder.glob("pid-*"))) + 1
(folder / f"pid-{life}").write_text(str(os.getpid()))
position = 0
def out(data): sys.stdout.buffer.write(data); sys.stdout.buffer.flush()
def begin(rate_hz=1000, channels=1): out(framing.pack_format(channels=channels, rate_hz=rate_hz))
def speak(value=0.5, frames=100, pause_s=0.1):
    global position
    time.sleep(pause_s)
    out(framing.pack_sound(position=position, frames=frames) + array("f", [value] * frames).tobytes())
    position += frames
def speak_on():
    while True: speak()
"""


def stand_in(folder: Path, script: str, **changes) -> SupervisedSource:
    limits = {"stall_s": 60.0, "retry_s": 0.5, "zeros_s": 0.0, "burst_s": 2.0, "opening_s": 60.0}
    command = [sys.executable, "-c", PRELUDE + script, str(folder)]
    channel = changes.pop("channel", 0)
    return SupervisedSource("stand-in", command, FramedDecoder, channel=channel, limits=Limits(**(limits | changes)))


def pid(folder: Path, life: int) -> int:
    return int((folder / f"pid-{life}").read_text())


def test_sound_comes_without_gap_and_rate_and_trouble_are_known(tmp_path):
    source = stand_in(tmp_path, "begin(16000); speak_on()")
    assert source.trouble
    with Recorder(source) as recorder:
        eventually(lambda: len(recorder.blocks) > 5, "blocks")
        assert (source.sample_rate_hz, source.channels, source.trouble) == (16_000, 1, "")
    assert recorder.gaps == []
    assert np.all(recorder.samples == np.float32(0.5))
    assert not recorder.blocks[0].samples.flags.writeable
    assert is_gone(pid(tmp_path, 1))


FAULTS = {
    "silent": ("begin(); speak()\nif life == 1: time.sleep(1000)\nspeak_on()", "no sound for 1 s"),
    "flooding": ("begin()\nwhile life == 1: speak(pause_s=0)\nspeak_on()", "more sound than time allows"),
    "jumping": ("begin(); speak()\nif life == 1: position += 10**12\nspeak_on()", "more sound than time allows"),
    "odd": ("begin(); speak()\nif life == 1: out(b'ALSA lib pcm.c:2664: Unknown PCM' * 9)\nspeak_on()", "no sound"),
    "not a number": ("begin(); speak()\nif life == 1: speak(float('nan'))\nspeak_on()", "samples that are no sound"),
    "integers": ("begin(); speak()\nif life == 1: speak(12345.0)\nspeak_on()", "samples that are no sound"),
    "unusable rate": ("begin(7 if life == 1 else 1000); speak_on()", "1 channels at 7 Hz"),
    "exiting": ("begin(); speak()\nif life == 1: sys.exit('x\\nerror: the plug was pulled')\nspeak_on()", "the plug"),
    "speechless": ("begin(); speak()\nif life == 1: sys.exit()\nspeak_on()", "ended without a word"),
    "crashing": ("begin(); speak()\nif life == 1: os.kill(os.getpid(), signal.SIGSEGV)\nspeak_on()", "without a word"),
    "closing": ("begin(); speak()\nif life == 1: os.close(1); time.sleep(1000)\nspeak_on()", "without a word"),
    "dripping": ("begin(); speak()\nwhile life == 1: out(b'A'); time.sleep(.1)\nspeak_on()", "no sound"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_child_at_fault_is_started_anew_and_the_fault_told(tmp_path, logs, fault):
    script, told = FAULTS[fault]
    stall_s = 1.0 if fault in ("silent", "dripping") else 60.0
    with Recorder(stand_in(tmp_path, script, stall_s=stall_s)) as recorder:
        eventually(lambda: (tmp_path / "pid-2").exists(), "a second child")
        heard = len(recorder.blocks)
        eventually(lambda: len(recorder.blocks) > heard + 3 and recorder.source.trouble == "", "sound again")
        assert is_gone(pid(tmp_path, 1))
    warned = [entry["reason"] for entry in logs if entry["event"] == "no_sound"]
    assert told in warned[0]
    if fault != "unusable rate":  # of which the first child gave no block
        # Time has passed without sound, and whatever was heard lies in its place.
        assert recorder.gaps[-1][1] - recorder.gaps[-1][0] > 0
        assert "stand-in" in [entry["source"] for entry in logs if entry["event"] == "sound_is_back"]


def test_gap_of_a_restart_is_as_long_as_the_time_that_passed(tmp_path):
    script = "begin()\nfor _ in range(5): speak()\nif life == 1: sys.exit()\nspeak_on()"
    source = stand_in(tmp_path, "time.sleep(2 * (life - 1))\n" + script)
    with Recorder(source) as recorder:
        eventually(lambda: bool(recorder.gaps) and len(recorder.blocks) > 8, "sound after the gap")
    gap = recorder.gaps[0]
    assert gap[0] == 500
    assert gap[1] - gap[0] > 1900


def test_sound_that_the_child_has_lost_is_a_gap_of_so_many_samples(tmp_path):
    script = "begin(); speak(); speak()\ntime.sleep(.7); position += 700; speak_on()"
    with Recorder(stand_in(tmp_path, script)) as recorder:
        eventually(lambda: len(recorder.blocks) > 4, "sound after the gap")
    assert recorder.gaps == [(200, 900)]
    assert not (tmp_path / "pid-2").exists()


def test_sound_that_a_stream_has_left_out_without_a_word_is_a_gap(tmp_path):
    script = "begin()\nfor _ in range(5): speak()\ntime.sleep(4)\nspeak_on()"
    with Recorder(stand_in(tmp_path, script, slip_s=1.0)) as recorder:
        eventually(lambda: sum(end - begin for begin, end in recorder.gaps) > 3000, "the gap")
        end, passed_s = recorder.end, time.monotonic() - recorder.begun_s
    assert end / 1000 < passed_s
    assert not (tmp_path / "pid-2").exists()


def test_stream_that_comes_in_large_pieces_has_left_nothing_out(tmp_path):
    # By the clock, so that a busy machine delays a piece and not all that follow.
    script = "begin()\nbegun = time.monotonic()\nwhile True:\n for _ in range(20): speak(pause_s=0)\n"
    script += " time.sleep(max(0.0, begun + position / 1000 - time.monotonic()))"
    with Recorder(stand_in(tmp_path, script, slip_s=4.0, burst_s=60.0)) as recorder:
        eventually(lambda: len(recorder.blocks) > 80, "four pieces")
    assert recorder.gaps == []


def test_device_that_comes_back_at_another_rate_is_resampled_to_the_first(tmp_path):
    script = "begin(8000 if life == 1 else 16000)\nfor _ in range(9): speak(frames=800 * life)\nif life > 1: speak_on()"
    script = script.replace("speak_on()", "\n while True: speak(frames=1600)")
    source = stand_in(tmp_path, script)
    with Recorder(source) as recorder:
        eventually(lambda: bool(recorder.gaps) and len(recorder.blocks) > 20, "sound after the gap")
        assert source.sample_rate_hz == 8_000
    assert len(recorder.gaps) == 1
    begin = recorder.gaps[0][0]
    assert begin == 9 * 800
    # A constant stays one, away from the edge of the new beginning; every second comes in half as many samples.
    assert np.allclose(recorder.samples[begin + 800 : begin + 4000], 0.5, atol=1e-3)


def test_child_does_not_see_the_settings_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.setenv("ACULA_EDGE__MQTT__PASSWORD", "hush-hush")
    with Recorder(
        stand_in(tmp_path, "sys.exit('error: ' + repr([k for k in os.environ if k.startswith('ACULA_EDGE')]))")
    ) as recorder:
        eventually(lambda: recorder.source.trouble == "[]", "what the child saw")


def test_zeros_are_told_as_trouble_and_missing_from_then_on_but_not_taken_for_a_fault(tmp_path, logs):
    script = "begin()\nwhile not (folder / 'unmute').exists(): speak(0.0)\nspeak_on()"
    with Recorder(stand_in(tmp_path, script, zeros_s=0.5)) as recorder:
        eventually(lambda: "zeros" in recorder.source.trouble, "trouble")
        (tmp_path / "unmute").touch()
        eventually(lambda: recorder.source.trouble == "" and len(recorder.gaps) == 1, "sound after the gap")
    ((begin, end),) = recorder.gaps
    assert begin == 400  # the fifth block makes half a second of nothing
    assert not recorder.between(0, end).any()
    assert np.all(recorder.between(end, recorder.end) == np.float32(0.5))
    assert not (tmp_path / "pid-2").exists()
    assert [entry["event"] for entry in logs] == ["digital_silence"]


def test_child_that_ignores_sigterm_is_killed_with_all_that_it_has_started(tmp_path):
    script = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(1000)"
helper = subprocess.Popen([sys.executable, "-c", helper], stdout=subprocess.PIPE)
helper.stdout.readline()
(folder / "helper").write_text(str(helper.pid))
begin(); speak_on()
"""
    with Recorder(stand_in(tmp_path, script)) as recorder:
        eventually(lambda: bool(recorder.blocks), "sound")
        helper = int((tmp_path / "helper").read_text())
        assert os.getsid(pid(tmp_path, 1)) != os.getsid(0)
    eventually(lambda: is_gone(helper) and is_gone(pid(tmp_path, 1)), "the end of both")


def test_program_that_is_missing_is_told_and_tried_again(logs):
    limits = Limits(stall_s=1.0, retry_s=0.5, zeros_s=0.0, burst_s=1.0)
    source = SupervisedSource("absent", ["no-such-program"], FramedDecoder, channel=0, limits=limits)
    with Recorder(source) as recorder:
        eventually(lambda: "no-such-program cannot be started" in source.trouble, "trouble")
    assert recorder.error is None
    assert [entry["event"] for entry in logs] == ["no_sound"]


def test_reason_that_stays_the_same_is_logged_once(tmp_path, logs):
    with Recorder(stand_in(tmp_path, "sys.exit('error: there is no input bed-12')")) as recorder:
        eventually(lambda: (tmp_path / "pid-4").exists(), "a fourth attempt")
        assert recorder.source.trouble == "there is no input bed-12"
    assert [entry["reason"] for entry in logs] == ["there is no input bed-12"]


def test_channel_is_chosen_and_one_that_is_missing_is_told(tmp_path):
    frame = "out(framing.pack_sound(position=0, frames=2) + array('f', [.1, .2, .3, .4]).tobytes()); time.sleep(1000)"
    source = stand_in(tmp_path, "begin(channels=2); " + frame, channel=2)
    with Recorder(source) as recorder:
        eventually(lambda: bool(recorder.blocks), "a block")
    assert recorder.samples.tolist() == np.array([0.2, 0.4], np.float32).tolist()
    with Recorder(stand_in(tmp_path, "begin(channels=2); " + frame, channel=3)) as recorder:
        eventually(lambda: recorder.source.trouble == "has 2 channels, and source.channel is 3", "trouble")


@pytest.mark.parametrize("way", ["edge.sources.leash", "die_with_parent"])
def test_child_dies_with_a_parent_that_is_killed(tmp_path, way):
    hang = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
    child = [sys.executable, "-c", f"from edge.sources.leash import die_with_parent; die_with_parent(); {hang}"]
    if way != "die_with_parent":
        child = [sys.executable, "-m", way, sys.executable, "-c", hang]
    parent = subprocess.Popen(
        [sys.executable, "-c", f"import subprocess; subprocess.run({child!r})"], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    process = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    eventually(lambda: is_gone(process), "the end of the child")
    parent.stdout.close()
