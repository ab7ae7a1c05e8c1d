"""A new bundle's trial: a process of its own runs it beside the old one, which goes on listening.

Does: checks the golden outputs, then analyses a synthetic room as the daemon would, and says whether every score is
finite and the speed will do. Does not: judge how well it hears (its card does), or touch what is installed.

A model that crashes, hangs or swallows the memory does so in that process. Nothing here hears the microphone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from edge.config import Settings
from edge.errors import UpdateError, exit_status
from edge.sections import BundleSettings

SCENE_S = 60.0
SCENE_SEED = 7
REAL_TIME_SHARE = 0.5
"""Most of a hop that analysing one window may take: the rest is for another source, or a warm day."""

_FEWEST_TIMES = 10
"""Judged by fewer, a bundle would fail for a moment in which something else was busy."""

TIMEOUT_S = 300.0
_POLL_S = 0.2


class _Task(BaseModel):
    """What the process is to do, on its standard input."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bundle: BundleSettings
    hop_s: float | None
    window_s: float | None
    thresholds: dict[str, float]
    clips: bool


@dataclass(frozen=True)
class Trial:
    """What a bundle did in its trial."""

    windows: int
    median_ms: float
    """For one window."""


def run_trial(folder: Path, settings: Settings, stopping: threading.Event) -> Trial:
    """Run the bundle in `folder` in a process of its own, as these settings would run it.

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
    )
    command = [sys.executable, "-m", "edge.update.trial"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        said, errors = _communicate(process, task.model_dump_json().encode(), stopping)
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


def _communicate(process: subprocess.Popen[bytes], task: bytes, stopping: threading.Event) -> tuple[str, str]:
    """What the process wrote on standard output and error."""
    deadline = time.monotonic() + TIMEOUT_S
    given: bytes | None = task
    answer = None
    while answer is None:
        if stopping.is_set():
            raise UpdateError("trial: given up, because the daemon stops")
        if time.monotonic() > deadline:
            raise UpdateError(f"trial: not over after {TIMEOUT_S:g} s; the bundle hangs or is too slow")
        answer, given = _wait(process, given), None
    said, errors = answer
    return said.decode(errors="replace"), errors.decode(errors="replace")


def _wait(process: subprocess.Popen[bytes], given: bytes | None) -> tuple[bytes, bytes] | None:
    """Both outputs of a process that has ended; None where it is at work still."""
    try:
        return process.communicate(given, timeout=_POLL_S)
    except subprocess.TimeoutExpired:
        return None


def _try(task: _Task) -> Trial:
    """Within the process: analyse the scene.

    Raises:
        UserError: the bundle fails.
    """
    from edge.analysis import Analyzer
    from edge.clips import require_speech_label
    from edge.drift import load_reference
    from edge.pipeline import open_model
    from edge.scene import compose_scene
    from edge.synthesis import SAMPLE_RATE_HZ
    from edge.track import TrackChunk

    model = open_model(task.bundle)
    load_reference(model.bundle)
    if task.clips:
        require_speech_label(model.bundle.manifest)
    analyzer = Analyzer(
        model.bundle,
        model.backend,
        input_rate_hz=SAMPLE_RATE_HZ,
        channels=1,
        window_s=task.window_s,
        hop_s=task.hop_s,
        thresholds=task.thresholds,
    )

    def check(chunk: TrackChunk) -> None:
        if not (np.isfinite(chunk.scores).all() and (chunk.scores >= 0).all() and (chunk.scores <= 1).all()):
            raise UpdateError(f"{model.name} gives scores that are not between 0 and 1")

    analyzer.on_scores = check
    manifest = model.bundle.manifest
    hop_s = task.hop_s or manifest.hop_s
    # The sound of one window at a time, so that each time is that of one.
    block = round(hop_s * SAMPLE_RATE_HZ)
    samples = compose_scene(SCENE_S, SCENE_SEED).samples[:, None]
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
    return Trial(analyzer.windows_done, round(float(np.median(times_s)) * 1000, 3))


def is_too_slow(times_s: Sequence[float], hop_s: float) -> bool:
    """Whether the windows so far, each of which took so many seconds, leave the daemon too little of a hop."""
    return len(times_s) >= _FEWEST_TIMES and float(np.median(times_s)) > REAL_TIME_SHARE * hop_s


def main() -> int:
    """Run the task of standard input, and print what came of it as one JSON object."""
    trial = _try(_Task.model_validate_json(sys.stdin.buffer.read()))
    print(json.dumps({"windows": trial.windows, "median_ms": trial.median_ms}))
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
