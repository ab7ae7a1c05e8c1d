from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
Sounds = Callable[..., NDArray[np.float32]]


def replay(bundle: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "replay", "--bundle.path", str(bundle), "--bundle.allow_unsigned"]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def events(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture
def ward(tmp_path: Path, sounds: Sounds) -> Path:
    path = tmp_path / "ward.wav"
    soundfile.write(path, sounds(16_000, 8.0, coughs=[1.0, 4.5], breaths=[6.0]), 16_000)
    return path


def test_events_have_the_payload_and_seconds_from_the_start(tiny_bundle_path: Path, ward: Path) -> None:
    done = replay(tiny_bundle_path, str(ward), "--start", "2026-11-23T22:00:00Z")
    assert done.returncode == 0, done.stderr
    found = events(done)
    assert sorted(event["label"] for event in found) == ["breath", "cough", "cough"]
    coughs = [event for event in found if event["label"] == "cough"]
    assert [round(cough["onset_s"], 1) for cough in coughs] == [1.0, 4.5]
    first = coughs[0]
    assert first["onset"] == f"2026-11-23T22:00:0{first['onset_s']:.3f}Z"
    assert first["duration_s"] == pytest.approx(first["offset_s"] - first["onset_s"], abs=1e-3)
    assert first["file"] == str(ward)
    assert (first["source"], first["bundle"], first["clock"]) == ("file:ward.wav", "tiny-1.2.3", "synced")
    assert first["historical"] is False
    assert sorted(event["seq"] for event in found) == [0, 1, 2]
    assert len({event["event_id"] for event in found}) == 3


def test_tail_shorter_than_a_window_is_heard(tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds) -> None:
    short = tmp_path / "short.wav"
    soundfile.write(short, sounds(16_000, 0.7, coughs=[0.2]), 16_000)
    assert [event["label"] for event in events(replay(tiny_bundle_path, str(short)))] == ["cough"]


def test_file_of_96_khz_and_8_channels_gives_the_same_coughs(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    wide = tmp_path / "wide.wav"
    mono = sounds(96_000, 8.0, coughs=[1.0, 4.5])
    soundfile.write(wide, np.repeat(mono[:, None] * 6**0.5, 8, axis=1), 96_000)
    coughs = [event["onset_s"] for event in events(replay(tiny_bundle_path, str(wide)))]
    assert [round(onset, 1) for onset in coughs] == [1.0, 4.5]


def test_file_name_that_is_not_utf_8_is_heard_and_named(tiny_bundle_path: Path, ward: Path) -> None:
    odd = ward.rename(ward.parent / os.fsdecode(b"caf\xe9.wav"))
    done = replay(tiny_bundle_path, str(odd))
    assert done.returncode == 0, done.stderr
    assert {(event["file"], event["source"]) for event in events(done)} == {(str(odd), "file:caf\ufffd.wav")}


def test_lines_on_a_terminal_stand_clear_of_the_progress_bar(tiny_bundle_path: Path, ward: Path) -> None:
    command = [sys.executable, "-m", "edge", "replay", "--bundle.path", str(tiny_bundle_path)]
    terminal, end = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))  # without a width there is no bar
    with os.fdopen(terminal, "rb", buffering=0) as screen:
        with os.fdopen(end, "wb") as program_end:
            process = subprocess.Popen(
                [*command, "--bundle.allow_unsigned", str(ward)], cwd=ROOT, stdout=program_end, stderr=program_end
            )
        shown = b""
        with contextlib.suppress(OSError):  # the terminal's way to say that the program has left
            while piece := screen.read(4096):
                shown += piece
    assert process.wait() == 0
    assert b"%" in shown
    lines = [line.rstrip("\r") for line in shown.decode().split("\n") if '"event_id"' in line]
    assert len(lines) == 3
    for line in lines:
        json.loads(line.rpartition("\r")[2])


def test_bad_files_are_told_in_a_line_each_and_the_others_heard(
    tiny_bundle_path: Path, tmp_path: Path, ward: Path, sounds: Sounds
) -> None:
    empty = tmp_path / "empty.wav"
    empty.touch()
    text = tmp_path / "text.wav"
    text.write_text("no sound")
    broken = tmp_path / "broken.wav"
    samples = sounds(16_000, 8.0, coughs=[1.0])
    samples[6 * 16_000] = np.nan
    soundfile.write(broken, samples, 16_000, subtype="FLOAT")
    done = replay(tiny_bundle_path, str(empty), str(text), "/no/such.wav", str(broken), str(ward))
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    for line, name in zip(lines, (empty, text, "/no/such.wav", broken), strict=True):
        assert line.startswith(f"error: {name}: ")
    heard = [event["file"] for event in events(done) if event["label"] == "cough"]
    # The cough before the fault counts too.
    assert heard == [str(broken), str(ward), str(ward)]


def test_threshold_of_the_settings_applies(tiny_bundle_path: Path, ward: Path) -> None:
    done = replay(tiny_bundle_path, str(ward), "--thresholds", "breath=1")
    assert {event["label"] for event in events(done)} == {"cough"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--thresholds", "sneeze=0.5"], "thresholds.sneeze"),
        (["--windows.window_s", "3"], "windows.window_s is 3.0"),
        (["--windows.hop_s", "0.123"], "windows.hop_s is 0.123"),
        (["--start", "noon"], "'noon' is not a time"),
        (["--no-bundle.allow_unsigned"], "bundle.trusted_keys is empty"),
    ],
)
def test_setting_that_the_bundle_cannot_run_with_is_one_line(
    tiny_bundle_path: Path, ward: Path, arguments: list[str], told: str
) -> None:
    done = replay(tiny_bundle_path, str(ward), *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_reader_that_leaves_early_ends_replay_quietly(tiny_bundle_path: Path, ward: Path) -> None:
    command = f"{sys.executable} -m edge replay --bundle.path {tiny_bundle_path} --bundle.allow_unsigned {ward} | true"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_verify_names_the_bundle_and_what_holds(tiny_bundle_path: Path) -> None:
    command = [sys.executable, "-m", "edge", "verify", str(tiny_bundle_path), "--bundle.allow_unsigned"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "tiny-1.2.3" in done.stdout
    assert "golden outputs agree on onnxruntime" in done.stdout
