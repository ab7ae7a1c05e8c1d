"""What the daemon costs with a live microphone, and how soon an event is at its broker.

Starts a PulseAudio server with a null sink, plays a synthetic scene into it, and has `edge run` hear the sink's monitor
through PortAudio, tied to one core, as it would hear a sound card. Printed are the processor time of the daemon and of
its capture process after they have settled; their resident sets, and their proportional ones (PSS), which count a page
that both share once; and the seconds from the end of a sound, as the event itself tells it, to the event's arrival at
a subscriber. The broker and the subscriber run in this process, on the other core.

    python -m bench.microphone

Needs pulseaudio, its ALSA plugin, and the extra `mic`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import soundfile

from bench import pulseaudio
from bench.arrivals import SITE, arrivals
from bench.daemon import processor
from bench.program import parser, run
from edge.broker import HOST, broker
from edge.errors import UserError
from edge.scene import compose_scene
from edge.synthesis import SAMPLE_RATE_HZ

SETTLING_S = 15.0
PATIENCE_S = 60.0
SINK = "room"


@dataclass(frozen=True)
class Sample:
    """One process at one time: its processor seconds, and its memory in megabytes."""

    at_s: float
    cpu_s: float
    rss_mb: float
    pss_mb: float


def main() -> None:
    """Measure and print."""
    flags = parser("microphone", __doc__)
    flags.add_argument("--seconds", type=float, default=120.0, help="to hear after settling (default: 120)")
    flags.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="core to run on (default: last)")
    run(flags, _measure)


def _measure(options: argparse.Namespace) -> None:
    missing = [name for name in pulseaudio.PROGRAMS if shutil.which(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)} not found: on Debian, apt install pulseaudio pulseaudio-utils")
    with tempfile.TemporaryDirectory(prefix="acula-") as folder:
        measure(Path(folder), options.seconds, options.core)


def measure(folder: Path, seconds: float, core: int) -> None:
    """Run everything and print the tables.

    Raises:
        UserError: the daemon did not become ready.
    """
    with (
        sound_server(folder) as environment,
        broker() as port,
        arrivals(port) as delays_s,
        _playing(folder, seconds + PATIENCE_S, environment),
        _daemon(folder, port, core, environment) as daemon,
    ):
        time.sleep(SETTLING_S)
        heard_before = len(delays_s)
        rows = _watch(daemon, seconds)
    print(f"{processor()}, {os.cpu_count()} cores, of which core {core} was used; {seconds:g} s\n")
    print(f"{'':<12}{'of one core':>12}{'resident':>12}{'PSS':>10}")
    for name, samples in rows.items():
        share = (samples[-1].cpu_s - samples[0].cpu_s) / (samples[-1].at_s - samples[0].at_s)
        memory = f"{max(each.rss_mb for each in samples):>9.0f} MB{max(each.pss_mb for each in samples):>7.0f} MB"
        print(f"{name:<12}{100 * share:>10.2f} %{memory}")
    print(f"\n{'end of sound to event':<24}{'events':>8}{'median':>9}{'p95':>9}{'largest':>9}")
    found = delays_s[heard_before:]
    for label in sorted({label for label, _ in found}):
        values = [delay for each, delay in found if each == label]
        p95 = float(np.percentile(values, 95))
        print(f"{label:<24}{len(values):>8}{median(values):>7.2f} s{p95:>7.2f} s{max(values):>7.2f} s")
    if not found:
        print("no event was heard")


@contextlib.contextmanager
def sound_server(folder: Path) -> Iterator[dict[str, str]]:
    """A PulseAudio server with a null sink; gives the environment in which programs find it."""
    environment = os.environ | pulseaudio.environment(folder)
    command = pulseaudio.command(folder, [" ".join(pulseaudio.null_sink(SINK, 48_000, 1))])
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(["pactl", "info"], env=environment, capture_output=True, check=False).returncode:
            if server.poll() is not None or time.monotonic() > deadline:
                raise UserError("pulseaudio did not start: run it by hand to see why")
            time.sleep(0.1)
        yield environment
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def _playing(folder: Path, seconds: float, environment: dict[str, str]) -> Iterator[None]:
    file = folder / "scene.wav"
    soundfile.write(file, compose_scene(seconds, seed=1).samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    player = subprocess.Popen(["paplay", f"--device={SINK}", str(file)], env=environment)
    try:
        yield
    finally:
        player.kill()
        player.wait()


@contextlib.contextmanager
def _daemon(folder: Path, port: int, core: int, environment: dict[str, str]) -> Iterator[psutil.Process]:
    flags = f"--mqtt.host {HOST} --mqtt.port {port} --log.format json --device.site {SITE} --source.kind microphone"
    files = ["--source.device", f"pulse:{SINK}.monitor", "--outbox.path", str(folder / "outbox.db")]
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", *flags.split(), *files],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    assert process.stderr is not None
    last = ""
    try:
        for line in process.stderr:
            last = line.strip()
            if '"event": "ready"' in line:
                break
        else:
            raise UserError(last.removeprefix("error: ") or "the daemon ended before it was ready")
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield psutil.Process(process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _watch(daemon: psutil.Process, seconds: float) -> dict[str, list[Sample]]:
    """Samples of the daemon and of its children, once a second."""
    rows: dict[str, list[Sample]] = {"daemon": [], "capture": []}
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for name, processes in (("daemon", [daemon]), ("capture", daemon.children(recursive=True))):
            if processes:
                times = [process.cpu_times() for process in processes]
                memory = [process.memory_full_info() for process in processes]
                rows[name].append(
                    Sample(
                        time.monotonic(),
                        sum(each.user + each.system for each in times),
                        sum(each.rss for each in memory) / 1e6,
                        sum(each.pss for each in memory) / 1e6,
                    )
                )
        time.sleep(1.0)
    if not rows["capture"]:
        raise UserError("the daemon never opened the microphone; python -m edge doctor says why")
    rows["both"] = [
        Sample(one.at_s, one.cpu_s + two.cpu_s, one.rss_mb + two.rss_mb, one.pss_mb + two.pss_mb)
        for one, two in zip(rows["daemon"], rows["capture"], strict=False)
    ]
    return rows


if __name__ == "__main__":
    main()
