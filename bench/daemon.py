"""What the daemon costs on one core: processor time of real time, memory, time to ready.

Runs `edge run` as a process of its own, tied to one core, against a broker on the loopback, on a synthetic scene with
the bundle that ships (another: ACULA_EDGE__BUNDLE__PATH). Three runs: a minute and `--seconds` as fast as it can, whose
difference is the cost of the sound without that of the start; and `--realtime` seconds at the pace of a microphone,
where the processor sleeps between windows and its caches go cold, which is what a device pays. Of the latter the first
ten seconds, in which the broker is found, are left out.

Memory is the kernel's high-water mark of the resident set (VmHWM). Ready is the time from the start of the process to
its line "ready": settings read, bundle verified, golden outputs computed, source, outbox and publisher open. It does
not measure the time from a sound to its event, which is bound by the window and the hop.

    python -m bench.daemon
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import soundfile

from bench.program import parser, run
from edge.broker import HOST, broker
from edge.errors import UserError
from edge.scene import compose_scene
from edge.synthesis import SAMPLE_RATE_HZ

SHORT_S = 60.0
SETTLING_S = 10.0


@dataclass(frozen=True)
class Sample:
    """What the kernel said of the process at a time: seconds since its start, processor seconds, peak memory."""

    elapsed_s: float
    cpu_s: float
    peak_mb: float


@dataclass(frozen=True)
class Run:
    """One run of the daemon."""

    samples: tuple[Sample, ...]
    cpu_s: float
    """Processor time in all."""
    ready_s: float
    """Time from the start of the process to its line "ready"."""
    ready: dict[str, Any]
    """That line."""

    @property
    def peak_mb(self) -> float:
        """Largest resident set."""
        return max(sample.peak_mb for sample in self.samples)

    @property
    def settled_share(self) -> float:
        """Processor time of elapsed time, from ten seconds after ready to the end."""
        settled = [sample for sample in self.samples if sample.elapsed_s > self.ready_s + SETTLING_S]
        return (settled[-1].cpu_s - settled[0].cpu_s) / (settled[-1].elapsed_s - settled[0].elapsed_s)


def main() -> None:
    """Measure and print."""
    flags = parser("daemon", __doc__)
    flags.add_argument("--seconds", type=float, default=660.0, help="length of the fast run (default: 660)")
    flags.add_argument("--realtime", type=float, default=60.0, help="length of the run in real time (default: 60)")
    flags.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="core to run on (default: last)")
    run(flags, _measure)


def _measure(options: argparse.Namespace) -> None:
    if options.seconds < 2 * SHORT_S or options.realtime < 2 * SETTLING_S:
        raise UserError(f"give --seconds of at least {2 * SHORT_S:g} and --realtime of at least {2 * SETTLING_S:g}")
    if options.core not in os.sched_getaffinity(0):
        raise UserError(f"this process may not use core {options.core}")
    with tempfile.TemporaryDirectory(prefix="acula-bench-") as folder, broker() as port:
        short, long, live = (
            measure(Path(folder), seconds, pace, port, options.core)
            for seconds, pace in ((SHORT_S, "fast"), (options.seconds, "fast"), (options.realtime, "realtime"))
        )
    print(_table(options, short, long, live))


def measure(folder: Path, seconds: float, pace: str, port: int, core: int) -> Run:
    """Run the daemon on `seconds` of a scene.

    Raises:
        UserError: the daemon ended with an error; with what it said.
    """
    audio = folder / f"{pace}-{seconds:g}.wav"
    soundfile.write(audio, compose_scene(seconds, seed=1).samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    flags = f"--source.pace {pace} --mqtt.host {HOST} --mqtt.port {port} --log.format json".split()
    flags += ["--device.site", "bench", "--metrics.port", "0"]
    files = ["--source.kind", "file", "--source.path", str(audio), "--outbox.path", str(folder / "outbox.db")]
    print(f"running {seconds:g} s, {pace} ...", file=sys.stderr, flush=True)
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", *flags, *files],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    samples: list[Sample] = []
    watcher = threading.Thread(target=_watch, args=(process.pid, begun, samples), daemon=True)
    watcher.start()
    ready_s, last = 0.0, ""
    ready: dict[str, Any] = {}
    assert process.stderr is not None
    for line in process.stderr:
        last = line.strip()
        if not ready and '"event": "ready"' in line:
            ready_s, ready = time.monotonic() - begun, json.loads(line)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watcher.join()
    if process.returncode or not ready:
        raise UserError(last.removeprefix("error: ") or f"the daemon ended with status {process.returncode}")
    return Run(tuple(samples), usage.ru_utime + usage.ru_stime, ready_s, ready)


def _watch(pid: int, begun: float, samples: list[Sample]) -> None:
    # The peak is not taken from rusage's ru_maxrss: there a child inherits the size that its parent had at the fork.
    while True:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            cpu_s = _cpu_s(pid)
        except OSError:
            return
        peaks_kb = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        if not peaks_kb:
            return  # it has ended and has no memory any more
        samples.append(Sample(time.monotonic() - begun, cpu_s, peaks_kb[0] / 1024.0))
        time.sleep(0.1)


def _cpu_s(pid: int) -> float:
    # The fields after the name, which stands in brackets and may hold anything: utime and stime are the 12th and 13th.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _table(options: argparse.Namespace, short: Run, long: Run, live: Run) -> str:
    fast = (long.cpu_s - short.cpu_s) / (options.seconds - SHORT_S)
    rows = [
        ("as fast as it can", fast, max(short.peak_mb, long.peak_mb), (short.ready_s + long.ready_s) / 2.0),
        ("in real time", live.settled_share, live.peak_mb, live.ready_s),
    ]
    head = f"{processor()}, {os.cpu_count()} cores, of which core {options.core} was used"
    parts = (
        f"{long.ready['bundle']} on {long.ready['backend']}, onnxruntime {metadata.version('onnxruntime')}, one thread"
    )
    lines = [head, f"{parts}, Python {platform.python_version()}, {platform.system()} {platform.machine()}", ""]
    lines.append(f"{'':<20}{'of real time':>14}{'streams a core':>16}{'peak memory':>14}{'ready after':>13}")
    for name, share, peak_mb, ready_s in rows:
        lines.append(f"{name:<20}{100 * share:>12.2f} %{1 / share:>16.0f}{peak_mb:>11.0f} MB{ready_s:>11.2f} s")
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as well as the system tells it."""
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("model name", "Model"))
    ]
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
