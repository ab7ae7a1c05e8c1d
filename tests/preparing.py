"""A small corpus in the form of a table, and the program that prepares it, for the tests of `align.prepare`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from align.config import PrepareSettings
from tests.sounds import write_sound, write_text

ROOT = Path(__file__).parents[1]
HEADER = "path,group,split,event,cough_times,licence,modality,age"

NO_OVERRIDE = "-dac_override,-dac_read_search"
BOUND_BY_PERMISSIONS = ["setpriv", f"--bounding-set={NO_OVERRIDE}", f"--inh-caps={NO_OVERRIDE}"] * (os.geteuid() == 0)
"""Goes before a program: root, too, may then read only what its permissions say."""


def corpus(folder: Path) -> Path:
    """Three recordings of two people, one of them stereo at another rate."""
    write_sound(folder / "a.wav", 0.5, 16000)
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (22050, 2))
    soundfile.write(folder / "b.wav", noise, 44100, subtype="PCM_24")
    write_sound(folder / "deep.er" / "c.wav", 0.25, 16000)
    write_text(
        folder / "recordings.csv",
        HEADER,
        "a.wav,ann,train,cough,0.1-0.2;0.3-0.45,CC0-1.0,airborne,41",
        "b.wav,bob,test,breath,,,lung,",
        "deep.er/c.wav,ann,train,,,,,",
    )
    return folder


def settings(root: Path, output: Path, **changes: object) -> PrepareSettings:
    return PrepareSettings.model_validate({"corpus": "table", "root": root, "output": output, "workers": 2, **changes})


def run(
    *flags: str | Path, limit: Callable[[], None] | None = None, before: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "align.prepare", *map(str, flags)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, preexec_fn=limit)


def errors(completed: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of standard error that are no progress bar."""
    return [line for line in completed.stderr.splitlines() if line and not line.startswith("prepare:")]


def many(folder: Path) -> Path:
    """400 recordings, enough for several shards and for a moment between two of them."""
    sound = write_sound(folder / "sound.wav", 8.0, 44100)
    for number in range(400):
        (folder / f"{number}.wav").hardlink_to(sound)
    lines = (f"{number}.wav,person-{number},{'test' if number % 4 else 'train'},cough,,,," for number in range(400))
    write_text(folder / "recordings.csv", HEADER, *lines)
    return folder
