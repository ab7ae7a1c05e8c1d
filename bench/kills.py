"""Whether anything is lost when broker and device are killed again and again at random.

Runs a mosquitto, a subscriber, and a process that puts numbered events into an outbox and has the device's publisher
deliver them. At random events one of the two, broker or device, gets SIGKILL and is started anew. Lost is what the
device had told to be stored and the subscriber never got: it must be 0. Repeated is what the subscriber got more than
once: a kill repeats one event at most.

The outbox lies in memory (/dev/shm) unless --folder says otherwise: a kill is no loss of power, and what the kernel
holds survives it. What the broker loses is not counted against the device (`bench.mosquitto`). It does not detect
anything.

    python -m bench.kills
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from tqdm import tqdm

from bench.mosquitto import PATIENCE_S, Broker, Subscriber, wait
from bench.program import parser, run
from edge import logs
from edge.errors import UserError
from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.sections import LogSettings, MqttSettings

BASE = "acula/bench/kills"
BACKLOG = 2000
"""The device pauses while so many events wait."""
_LAST_S = 30.0
"""How long the last events may take from the broker to the subscriber."""


def main() -> None:
    """Kill, count and print; status 1 where an event was lost."""
    if sys.argv[1:2] == ["device"]:
        folder, port, boot, events = sys.argv[2:]
        sys.exit(device(Path(folder), int(port), boot, int(events)))
    flags = parser("kills", __doc__)
    flags.add_argument("--events", type=int, default=100_000, help="events to store and deliver (default: 100000)")
    flags.add_argument("--kills", type=int, default=200, help="kills of broker or device (default: 200)")
    flags.add_argument("--seed", type=int, default=1, help="of the places of the kills (default: 1)")
    flags.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="for the outbox (default: /dev/shm)")  # noqa: S108
    run(flags, measure)


def measure(options: argparse.Namespace) -> int:
    """One measurement.

    Raises:
        UserError: there is no mosquitto, the device does not go on, or an option is wrong.
    """
    if not 0 <= options.kills < options.events:
        raise UserError(f"--kills = {options.kills}: give 0 or more, and fewer than --events = {options.events}")
    if not options.folder.is_dir():
        raise UserError(f"--folder = {options.folder}: no such folder; name one on a disk or in memory")
    chance = random.Random(options.seed)  # noqa: S311 - places of kills
    places = sorted(chance.sample(range(1, options.events), options.kills))
    victims = [chance.choice(["broker", "device"]) for _ in places]
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="acula-kills-", dir=options.folder) as name:
        broker = Broker(Path(name))
        broker.start()
        received: Counter[str] = Counter()
        subscriber = Subscriber(
            broker, [f"{BASE}/event"], lambda _, payload: received.update([json.loads(payload)["event_id"]])
        )
        writer = Device(Path(name), broker.port, options.events)
        try:
            with tqdm(total=options.events, unit="event", file=sys.stderr) as progress:
                for place, victim in zip(places, victims, strict=True):
                    writer.wait_for(place)
                    progress.update(len(writer.told) - progress.n)
                    if victim == "broker":
                        subscriber.catch_up()
                    killed = broker if victim == "broker" else writer
                    killed.kill()
                    killed.start()
                writer.finish()
                progress.update(len(writer.told) - progress.n)
            wait(lambda: writer.told <= set(received), _LAST_S)
        finally:
            writer.kill()
            broker.kill()
    lost = writer.told - set(received)
    repeated = sum(count - 1 for count in received.values())
    brokers, devices = victims.count("broker"), victims.count("device")
    print(
        f"{len(writer.told)} events in {time.monotonic() - begun:.0f} s, {brokers} kills of the broker, {devices} of "
        f"the device: lost {len(lost)}, repeated {repeated}"
    )
    return 1 if lost else 0


def device(folder: Path, port: int, boot: str, events: int) -> int:
    """The process that is killed: store events, say each on standard output once it is stored, deliver all."""
    logs.configure(LogSettings(level="error"))
    outbox = Outbox(folder / "outbox.db", max_mb=1000, max_age_days=30)
    publisher = Publisher(MqttSettings(port=port), BASE, outbox, lambda: {"state": "online", "reason": ""})
    publisher.start()
    for number in range(events):
        while outbox.depth > BACKLOG:
            time.sleep(0.01)
        event_id = f"{boot}-{number}"
        outbox.put(event_id, f"{BASE}/event", json.dumps({"event_id": event_id, "historical": False}).encode())
        os.write(1, f"{event_id}\n".encode())
        publisher.notify()
    publisher.stop(PATIENCE_S)
    outbox.close()
    return 0


class Device:
    """That process, as often as it takes, and what it told to be stored."""

    def __init__(self, folder: Path, port: int, events: int) -> None:
        self.told: set[str] = set()
        self._folder, self._port, self._events = folder, port, events
        self._runs = 0
        self.start()

    def start(self) -> None:
        """Start it on what is left to be stored."""
        command = [sys.executable, "-m", "bench.kills", "device", str(self._folder), str(self._port), str(self._runs)]
        self._runs += 1
        self._process = subprocess.Popen([*command, str(self._events - len(self.told))], stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, events: int) -> None:
        """Wait until so many have been stored."""
        wait(lambda: len(self.told) >= events or self._process.poll() is not None)
        if len(self.told) < events:
            raise UserError(f"the device stopped after {len(self.told)} events; see above")

    def kill(self) -> None:
        """SIGKILL; what it still said is read."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def finish(self) -> None:
        """Wait until it has delivered all and ends by itself."""
        if self._process.wait(PATIENCE_S):
            raise UserError(f"the device ended with status {self._process.returncode}; see above")
        self._reader.join()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        for line in stream:
            if line.endswith(b"\n"):
                self.told.add(line.decode().strip())


if __name__ == "__main__":
    main()
