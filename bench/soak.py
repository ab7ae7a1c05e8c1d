"""A day of sound through the daemon while much goes wrong: `python -m bench.soak`.

Runs the daemon (`bench.soaked`), with the bundle that ships and its defaults, on a synthetic scene as fast as it can be
analysed. Meanwhile it kills the broker (a mosquitto), fills the disk (no file of the daemon may grow), lets capture
stall (gaps from one sample to five minutes) and sets the clock (by up to an hour, or back to 1970 and unset), each as
often as asked for, at random places. The sample count begins a minute below 2^31, as if the source had been away since
0; the minutes of that are reported as well.

Lost is an event that the daemon told in its log and that the subscriber never got and the outbox does not hold at the
end. Repeated is a message that came again with the same id and revision: QoS 1 allows one for each kill. What the
minutes' reports hold must be all sound and all events. The slope of the resident memory is by least squares over all
but the first tenth of the sound. It does not say how well people are heard: the scene is synthetic.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from tqdm import tqdm

from bench.books import Books
from bench.daemon import processor
from bench.mosquitto import PATIENCE_S, Broker, Subscriber, wait
from bench.program import parser, run
from bench.soaked import LEAD_S, TICK_S, Fault, Kind, Task, plan
from edge.errors import UserError
from edge.outbox import Outbox
from edge.synthesis import SAMPLE_RATE_HZ

BASE = "acula/bench/soak"
SAMPLE_S = 300.0
"""Most sound between two looks at the process."""
SAMPLES = 30
"""Looks at least, however short the soak."""
WARM_SHARE = 0.1


class Device:
    """The process that hears, in step with this one."""

    def __init__(self, task: Task, settings: dict[str, Any], books: Books) -> None:
        command = [sys.executable, "-m", "bench.soaked", json.dumps(asdict(task)), json.dumps(settings)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self._process.stderr is not None
        self._books = books
        self._log = threading.Thread(target=books.read, args=(self._process.stderr,), daemon=True)
        self._log.start()
        self._limits = resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE)
        self.samples: list[tuple[float, float, int, int]] = []
        """Hours of sound, megabytes (10^6 bytes) resident, open file descriptors, threads."""

    def heard_s(self) -> float:
        """Wait until it tells how much sound it has read; it then waits for `go_on`.

        Raises:
            UserError: it has ended instead.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._log.join()
            said = next(reversed(self._books.errors), "without a word")
            raise UserError(f"the daemon ended with status {self._process.wait()}: {said}")
        return float(line)

    def go_on(self) -> None:
        """Let it read on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def fill_disk(self, *, full: bool) -> None:
        """Let no file of it grow or be written, or let them again."""
        soft = 1 if full else self._limits[0]
        resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (soft, self._limits[1]))

    def look(self, heard_s: float) -> None:
        """Note what it uses."""
        process = psutil.Process(self._process.pid)
        used = process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()
        self.samples.append((heard_s / 3600.0, *used))

    def end(self) -> int:
        """Have it end as a service manager would; returns its exit status."""
        self._process.terminate()
        status = self._process.wait(PATIENCE_S)
        self._log.join()
        return status

    def kill(self) -> None:
        """In case that it still runs."""
        self._process.kill()
        self._process.wait()


class Faults:
    """What the process that hears does not do to itself: broker and disk, from their place to their end."""

    def __init__(
        self, faults: list[Fault], broker: Broker, subscriber: Subscriber, device: Device, books: Books
    ) -> None:
        self._due = [fault for fault in faults if fault.kind in ("broker", "disk")]
        self._broker, self._subscriber, self._device, self._books = broker, subscriber, device, books
        self._connections = 0
        self._ends: dict[Kind, float] = {}

    def turn(self, heard_s: float) -> None:
        """Begin what is due, and end what is over."""
        while self._due and self._due[0].at_s <= heard_s:
            fault = self._due.pop(0)
            self._begin(fault.kind)
            self._ends[fault.kind] = fault.end_s
        for kind in [kind for kind, end_s in self._ends.items() if heard_s >= end_s]:
            del self._ends[kind]
            self._end(kind)

    def _begin(self, kind: Kind) -> None:
        if kind == "disk":
            self._device.fill_disk(full=True)
            return
        self._subscriber.catch_up()
        self._connections = self._connections_told
        self._broker.kill()

    def _end(self, kind: Kind) -> None:
        if kind == "disk":
            self._device.fill_disk(full=False)
        else:
            self._broker.start()
            # The device's pause between attempts grows to half a minute, in which it would hear an hour.
            wait(lambda: self._connections_told > self._connections)

    @property
    def _connections_told(self) -> int:
        return self._books.told["broker_connected"]


def main() -> None:
    """Soak and print; status 1 where something was lost or went wrong."""
    flags = parser("soak", __doc__)
    flags.add_argument("--hours", type=float, default=24.0, help="of sound (default: 24)")
    flags.add_argument("--faults", type=int, default=24, help="of each of the four kinds (default: 24)")
    flags.add_argument("--bits", type=int, choices=(31, 32), default=31, help="count from below 2^BITS (default: 31)")
    flags.add_argument("--seed", type=int, default=1, help="of the scene and the faults (default: 1)")
    flags.add_argument("--scene", type=float, default=600.0, help="seconds of the repeated scene (default: 600)")
    flags.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="for the outbox (default: /dev/shm)")  # noqa: S108
    run(flags, measure)


def measure(options: argparse.Namespace) -> int:
    """One soak.

    Raises:
        UserError: there is no mosquitto, the daemon ended, or an option is wrong.
    """
    if options.faults < 1 or options.hours < max(0.1, 0.025 * options.faults):
        raise UserError("give --faults of at least 1, and --hours of at least 0.1 and 0.025 for each")
    if not options.folder.is_dir():
        raise UserError(f"--folder {options.folder}: no such folder")
    task = Task(options.hours * 3600.0, options.bits, options.faults, options.seed, options.scene)
    books, begun = Books(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="acula-soak-", dir=options.folder) as name:
        broker = Broker(Path(name))
        broker.start()
        subscriber = Subscriber(broker, [f"{BASE}/event", f"{BASE}/minute"], books.hear)
        path = Path(name) / "outbox.db"
        settings = {
            "device": {"site": "bench", "name": "soak"},
            "mqtt": {"port": broker.port},
            "outbox": {"path": str(path)},
            "metrics": {"port": 0},
            "log": {"format": "json"},
        }
        device = Device(task, settings, books)
        try:
            _soak(task, device, books, Faults(plan(task), broker, subscriber, device, books))
            status = device.end()
            subscriber.catch_up()
            waiting = _enter_waiting(path, books)
        finally:
            device.kill()
            broker.kill()
    print(_table(task, books, device, waiting, time.monotonic() - begun))
    if status:
        print(f"the daemon ended with status {status}", file=sys.stderr)
    is_whole = not books.lost and books.counted == len(books.kept) and books.heard_s >= task.sound_s
    return 0 if is_whole and not books.unsynced and not books.errors and not status else 1


def _soak(task: Task, device: Device, books: Books, faults: Faults) -> None:
    """From the first sound to the last, and until all has arrived."""
    every_s = min(SAMPLE_S, task.sound_s / SAMPLES)
    sampled_s = -every_s
    away = (2**task.bits / SAMPLE_RATE_HZ - LEAD_S) // 60.0 - 1.0
    with tqdm(total=round(task.sound_s), unit="s", file=sys.stderr) as progress:
        while (heard_s := device.heard_s()) < task.sound_s:
            if heard_s == TICK_S:
                # As long as the minutes before the first sound are not out, a full disk would find no room in memory.
                wait(lambda: len(books.minutes) >= away)
            faults.turn(heard_s)
            if heard_s - sampled_s >= every_s:
                sampled_s = heard_s
                device.look(heard_s)
            progress.update(round(heard_s) - progress.n)
            device.go_on()
        faults.turn(task.sound_s)
        progress.update(round(task.sound_s) - progress.n)
    wait(lambda: books.is_complete)
    device.look(task.sound_s)
    device.go_on()


def _enter_waiting(path: Path, books: Books) -> int:
    """Messages that wait for the next run, which are not lost."""
    outbox = Outbox(path, max_mb=1000.0, max_age_days=30.0)
    waiting = outbox.pending(100_000)
    outbox.close()
    for row in waiting:
        books.hear(row.topic, row.payload)
    return len(waiting)


def _table(task: Task, books: Books, device: Device, waiting: int, took_s: float) -> str:
    hours, *used = np.array(device.samples).T
    warm = hours >= WARM_SHARE * task.sound_s / 3600.0
    slope = np.polyfit(hours[warm], used[0][warm], 1)[0] if warm.sum() > 2 else float("nan")
    told = books.told
    rows = [
        ("broker killed", f"{task.each} times; {told['broker_connected']} connections"),
        ("disk full", f"{task.each} times; told {told['outbox_not_writable']} times"),
        ("capture stalled", f"{task.each} times"),
        ("clock set", f"{task.each} times; told {told['clock_set']} times"),
        ("events", f"{len(books.kept)} kept, {books.lost} lost; {books.counted} in the minutes"),
        ("minutes", f"{len(books.minutes)}, {books.heard_s / 3600.0:.4f} h of {hours[-1]:.4f} h of sound in them"),
        ("messages", f"{books.repeated} repeated, {waiting} waiting, {len(books.unsynced)} with an unset clock's time"),
        ("errors", "; ".join(f"{times} {name}" for name, times in books.errors.items()) or "none"),
        ("resident memory", f"{_course(used[0][warm], '.1f')} MB, {slope:+.3f} MB an hour of sound"),
        ("file descriptors", _course(used[1][warm], ".0f")),
        ("threads", _course(used[2][warm], ".0f")),
    ]
    head = f"{processor()}: {task.sound_s / 3600.0:g} h of sound in {took_s / 60.0:.1f} min, {_command()}"
    return "\n".join([head, "", *(f"{name:<18}{text}" for name, text in rows)])


def _course(values: np.ndarray[Any, np.dtype[np.float64]], form: str) -> str:
    return f"{values[0]:{form}} at first, {values[-1]:{form}} at last, {values.max():{form}} at most"


def _command() -> str:
    return shlex.join(["python", "-m", "bench.soak", *sys.argv[1:]])


if __name__ == "__main__":
    main()
