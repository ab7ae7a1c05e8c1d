"""Many sources in one daemon: `python -m bench.streams`.

Runs `edge run` on as many files as wanted at the pace of microphones, each a synthetic scene of its own, against a
broker on the loopback, and prints the processor time, the memory, and how late events are behind the sound that they
tell of, from its end to the arrival at a subscriber. A machine that cannot keep up is late by more and more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import soundfile
import tomli_w

from bench.arrivals import SITE, arrivals
from bench.daemon import processor
from bench.program import parser, run
from edge.broker import HOST, broker
from edge.errors import UserError
from edge.scene import compose_scene
from edge.synthesis import SAMPLE_RATE_HZ

SCENES = 4
"""Different scenes; the sources share them, each beginning somewhere else."""
SETTLING_S = 15.0


def main() -> None:
    """Measure and print."""
    flags = parser("streams", __doc__)
    flags.add_argument("--streams", type=int, default=32, help="sources (default: 32)")
    flags.add_argument("--seconds", type=float, default=90.0, help="of sound (default: 90)")
    run(flags, _measure)


def _measure(options: argparse.Namespace) -> None:
    if options.seconds < 2 * SETTLING_S or options.streams < 1:
        raise UserError(f"give --seconds of at least {2 * SETTLING_S:g} and one stream or more")
    with tempfile.TemporaryDirectory(prefix="acula-bench-") as name:
        measure(Path(name), options.streams, options.seconds)


def measure(folder: Path, streams: int, seconds: float) -> None:
    """Run the daemon and print what it cost.

    Raises:
        UserError: the daemon ended with an error; with what it said.
    """
    write_sources(folder, streams, seconds)
    with broker() as port, arrivals(port) as arrived:
        command = [sys.executable, "-m", "edge", "run", "--config", str(folder / "edge.toml"), "--mqtt.port", str(port)]
        begun = time.monotonic()
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stderr=log)
        shares, peak_mb = _watch(psutil.Process(process.pid))
        process.wait()
        took_s = time.monotonic() - begun
    if process.returncode:
        said = (folder / "log").read_text().splitlines()
        raise UserError((said or ["the daemon was killed"])[-1].removeprefix("error: "))
    delays_s = [delay for _, delay in arrived]
    late = f"median {median(delays_s):.2f} s, p95 {float(np.percentile(delays_s, 95)):.2f} s" if delays_s else "none"
    print(f"{processor()}, {os.cpu_count()} cores; {streams} streams of {seconds:g} s, done after {took_s:.1f} s")
    print(f"{shares:.2f} cores ({streams / shares:.0f} streams a core), at most {peak_mb:.0f} MB resident")
    print(f"end of sound to event: {late} of {len(delays_s)} events")


def write_sources(folder: Path, streams: int, seconds: float) -> None:
    """Write scenes and the configuration that names them."""
    scenes = [compose_scene(seconds, seed=seed).samples for seed in range(SCENES)]
    sources = []
    for number in range(streams):
        shift = number * len(scenes[0]) // streams
        path = folder / f"{number}.wav"
        soundfile.write(path, np.roll(scenes[number % SCENES], shift), SAMPLE_RATE_HZ, subtype="PCM_16")
        sources.append({"name": f"bed-{number}", "kind": "file", "path": str(path), "pace": "realtime"})
    settings = {
        "device": {"site": SITE},
        "mqtt": {"host": HOST},
        "outbox": {"path": str(folder / "outbox.db")},
        "log": {"format": "json"},
        "sources": sources,
    }
    (folder / "edge.toml").write_text(tomli_w.dumps(settings))


def _watch(process: psutil.Process) -> tuple[float, float]:
    """Cores used between settling and the end, and the largest resident set in megabytes."""
    begun = time.monotonic()
    samples: list[tuple[float, float]] = []
    peak_mb = 0.0
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        times, now = process.cpu_times(), time.monotonic()
        peak_mb = max(peak_mb, process.memory_info().rss / 1e6)
        if now - begun > SETTLING_S:
            samples.append((now, times.user + times.system))
        time.sleep(0.5)
    if len(samples) < 2:
        return float("nan"), peak_mb
    return (samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0]), peak_mb


if __name__ == "__main__":
    main()
