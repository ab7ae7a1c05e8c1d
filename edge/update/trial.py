"""A new bundle's trial: a process of its own runs it beside the old one, which goes on listening.

Does: checks the golden outputs, then analyses a synthetic room and the newest seconds of this one as the daemon would,
and says whether every score is finite and the speed will do. Does not: judge how well it hears (its card does), or
touch what is installed.

A model that crashes, hangs or swallows the memory does so in that process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from edge.config import Settings
from edge.errors import UpdateError, exit_status
from edge.sections import BundleSettings
from edge.update.recent import Sound

if TYPE_CHECKING:
    from edge.pipeline import Model
    from edge.track import TrackChunk

SCENE_S = 60.0
SCENE_SEED = 7
REAL_TIME_SHARE = 0.5
"""Most of a hop that analysing one window may take: the rest is for another source, or a warm day."""

_FEWEST_TIMES = 10
"""Judged by fewer, a bundle would fail for a moment in which something else was busy."""

TIMEOUT_S = 300.0
_POLL_S = 0.2


class _Task(BaseModel):
    """What the process is to do: a line on its standard input, before the sound of this room as float32."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: BundleSettings
    hop_s: float | None
    window_s: float | None
    thresholds: dict[str, float]
    clips: bool
    sample_rate_hz: int
    """Of the sound of this room; 0: there is none."""
    channels: int


@dataclass(frozen=True)
class Trial:
    """What a bundle did in its trial."""

    windows: int
    median_ms: float
    """For one window."""


def run_trial(folder: Path, settings: Settings, stopping: threading.Event, sound: Sound | None = None) -> Trial:
    """Run the bundle in `folder` in a process of its own, as these settings would run it, also over `sound`.

    Raises:
        UpdateError: it does not load, gives other outputs than its golden ones or scores that are not finite, is too
            slow, crashes or hangs; or `stopping` was set meanwhile.
    """
    task = _Task(
        bundle=settings.bundle.model_copy(update={"path": str(folder)}),
        hop_s=settings.windows.hop_s,
        window_s=settings.windows.window_s,
        thresholds=settings.thresholds,
        clips=settings.clips.enabled,
        sample_rate_hz=sound.sample_rate_hz if sound else 0,
        channels=sound.samples.shape[1] if sound else 1,
    )
    command = [sys.executable, "-m", "edge.update.trial"]
    # In memory, since no sound goes to the disk; a pipe that is not empty yet would need somebody who fills it.
    with os.fdopen(os.memfd_create("trial"), "w+b") as given:
        given.write(task.model_dump_json().encode() + b"\n" + (sound.samples.tobytes() if sound else b""))
        given.seek(0)
        process = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said, errors = _communicate(process, stopping)
    finally:
        process.kill()
        process.wait()
    told = [line.removeprefix("error: ") for line in errors.splitlines() if line.startswith("error: ")]
    if told:
        raise UpdateError(f"trial: {told[-1]}")
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"status {process.returncode}"
        last = (errors.splitlines() or ["it said nothing"])[-1]
        raise UpdateError(f"trial: the process that ran the bundle ended with {how}: {last[:200]}")
    return Trial(**json.loads(said))


def _communicate(process: subprocess.Popen[bytes], stopping: threading.Event) -> tuple[str, str]:
    """What the process wrote on standard output and error."""
    deadline = time.monotonic() + TIMEOUT_S
    answer = None
    while answer is None:
        if stopping.is_set():
            raise UpdateError("trial: given up, because the daemon stops")
        if time.monotonic() > deadline:
            raise UpdateError(f"trial: not over after {TIMEOUT_S:g} s; the bundle hangs or is too slow")
        answer = _wait(process)
    said, errors = answer
    return said.decode(errors="replace"), errors.decode(errors="replace")


def _wait(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes] | None:
    """Both outputs of a process that has ended; None where it is at work still."""
    try:
        return process.communicate(timeout=_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _try(task: _Task, sound: NDArray[np.float32]) -> Trial:
    """Within the process: analyse the scene, then the sound of this room (frames, channels).

    Raises:
        UserError: the bundle fails.
    """
    from edge.clips import require_speech_label
    from edge.drift import load_reference
    from edge.pipeline import open_model
    from edge.scene import compose_scene
    from edge.synthesis import SAMPLE_RATE_HZ

    model = open_model(task.bundle)
    load_reference(model.bundle)
    if task.clips:
        require_speech_label(model.bundle.manifest)
    scene = compose_scene(SCENE_S, SCENE_SEED).samples[:, None]
    windows, times_s = _analyse(model, task, scene, SAMPLE_RATE_HZ)
    if task.sample_rate_hz:
        windows += _analyse(model, task, sound, task.sample_rate_hz)[0]
    return Trial(windows, round(float(np.median(times_s)) * 1000, 3))


def _analyse(model: Model, task: _Task, samples: NDArray[np.float32], rate_hz: int) -> tuple[int, list[float]]:
    """Number of windows, and the seconds that each took."""
    from edge.analysis import Analyzer

    analyzer = Analyzer(
        model.bundle,
        model.backend,
        input_rate_hz=rate_hz,
        channels=samples.shape[1],
        window_s=task.window_s,
        hop_s=task.hop_s,
        thresholds=task.thresholds,
    )

    def check(chunk: TrackChunk) -> None:
        if not (np.isfinite(chunk.scores).all() and (chunk.scores >= 0).all() and (chunk.scores <= 1).all()):
            raise UpdateError(f"{model.name} gives scores that are not between 0 and 1")

    analyzer.on_scores = check
    hop_s = task.hop_s or model.bundle.manifest.hop_s
    # The sound of one window at a time, so that each time is that of one.
    block = round(hop_s * rate_hz)
    times_s: list[float] = []
    for at in range(0, len(samples), block):
        start = time.perf_counter()
        analyzer.push(samples[at : at + block])
        times_s.append(time.perf_counter() - start)
        if is_too_slow(times_s, hop_s):
            raise UpdateError(
                f"{model.name} takes {np.median(times_s) * 1000:.0f} ms for a window here, and one comes every "
                f"{hop_s * 1000:.0f} ms"
            )
    analyzer.flush()
    return analyzer.windows_done, times_s


def is_too_slow(times_s: Sequence[float], hop_s: float) -> bool:
    """Whether the windows so far, each of which took so many seconds, leave the daemon too little of a hop."""
    return len(times_s) >= _FEWEST_TIMES and float(np.median(times_s)) > REAL_TIME_SHARE * hop_s


def main() -> int:
    """Run the task of standard input, and print what came of it as one JSON object."""
    line, _, sound = sys.stdin.buffer.read().partition(b"\n")
    task = _Task.model_validate_json(line)
    trial = _try(task, np.frombuffer(sound, np.float32).reshape(-1, task.channels))
    print(json.dumps({"windows": trial.windows, "median_ms": trial.median_ms}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
