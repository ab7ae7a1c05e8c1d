import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from edge.demo import Heard, compare
from edge.scene import Scene, SceneEvent, compose_scene
from edge.synthesis import SAMPLE_RATE_HZ
from tests.brokers import PATIENCE_S

EVENT = re.compile(r"^ *\d+\.\d\d s  (cough|breath|speech) +\d+\.\d\d s +[01]\.\d\d$", re.MULTILINE)


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "edge.demo", *map(str, arguments)]


def _environment(scratch: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(scratch)}


def _demo(scratch: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the demonstration with a temporary folder of its own, and see that it leaves that empty."""
    scratch.mkdir()
    result = subprocess.run(
        _command(*arguments), env=_environment(scratch), capture_output=True, text=True, timeout=300, check=False
    )
    assert list(scratch.iterdir()) == []
    return result


def test_demo_prints_every_event_and_what_was_in_the_room(tmp_path: Path) -> None:
    result = _demo(tmp_path / "scratch", "--seconds", 45)
    assert result.returncode == 0
    assert result.stderr == ""
    events = EVENT.findall(result.stdout)
    row = re.search(r"^cough +(\d+) +(\d+) +(\d+)$", result.stdout, re.MULTILINE)
    assert row is not None
    there, found, false = map(int, row.groups())
    assert there == len(compose_scene(45.0, seed=1).of("cough"))
    assert found + false == events.count("cough")
    assert found > there / 2
    assert re.search(r"45\.0 s of sound in \d+\.\d s.*: \d+ times real time", result.stdout)


def test_demo_hears_a_recording_of_ones_own(tmp_path: Path) -> None:
    """Two channels at twice the rate; nothing is said of what was in it."""
    audio, scene = tmp_path / "own.flac", compose_scene(20.0, seed=1)
    soundfile.write(audio, np.stack([np.repeat(scene.samples, 2)] * 2, axis=1), 2 * SAMPLE_RATE_HZ)
    result = _demo(tmp_path / "scratch", "--audio", audio)
    assert result.returncode == 0
    assert result.stderr == ""
    coughs = EVENT.findall(result.stdout).count("cough")
    assert coughs > 0
    assert f"{coughs} x cough" in result.stdout
    assert "in the room" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--audio", "missing.wav"], "missing.wav"),
        (["--audio", "empty.wav"], "empty.wav"),
        (["--seconds", "0"], "--seconds 0"),
        (["--seconds", "soon"], "--seconds"),
        (["--seed", "-1"], "--seed -1"),
        (["--sound", "a.wav"], "--sound"),
    ],
)
def test_demo_tells_a_wrong_input_in_one_line(tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty.wav").touch()
    located = [str(tmp_path / text) if text.endswith(".wav") else text for text in arguments]
    result = _demo(tmp_path / "scratch", *located)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_demo_tells_what_the_daemon_says_of_a_damaged_recording(tmp_path: Path) -> None:
    audio, samples = tmp_path / "damaged.wav", compose_scene(10.0).samples
    samples[4 * SAMPLE_RATE_HZ] = np.nan
    soundfile.write(audio, samples, SAMPLE_RATE_HZ, subtype="FLOAT")
    result = _demo(tmp_path / "scratch", "--audio", audio)
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "damaged.wav" in result.stderr


def test_demo_that_is_stopped_takes_its_daemon_and_its_folder_with_it(tmp_path: Path) -> None:
    demo = subprocess.Popen(
        _command("--seconds", 900),
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert demo.stdout is not None
    lines = [demo.stdout.readline() for _ in range(3)]
    assert "time" in lines[-1]
    daemons = psutil.Process(demo.pid).children()
    assert any("run" in daemon.cmdline() for daemon in daemons)
    demo.send_signal(signal.SIGTERM)
    _, said = demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == 128 + signal.SIGTERM
    assert said == ""
    assert list(tmp_path.iterdir()) == []
    assert not any(daemon.is_running() for daemon in daemons)


def test_compare_counts_coughs_one_to_one_and_long_sounds_by_overlap() -> None:
    events = (
        SceneEvent("cough", 1.0, 1.4),
        SceneEvent("cough", 2.0, 2.4),
        SceneEvent("breath", 4.0, 6.0),
        SceneEvent("breath", 7.0, 9.0),
        SceneEvent("knock", 12.0, 12.2),
    )
    scene = Scene(np.zeros(15 * SAMPLE_RATE_HZ, np.float32), events)
    heard = [
        Heard("cough", 1.1, 1.5, 0.9),
        Heard("cough", 12.0, 0.2, 0.6),
        Heard("breath", 4.5, 0.5, 0.8),
        Heard("breath", 5.5, 0.2, 0.8),
        Heard("breath", 10.0, 0.5, 0.7),
    ]
    table = {line.split()[0]: line.split()[1:] for line in compare(scene, heard).splitlines()[1:]}
    assert table == {
        "cough": ["2", "1", "1"],
        "breath": ["2", "1", "1"],
        "speech": ["0", "0", "0"],
        "knock": ["1", "-", "-"],
    }
