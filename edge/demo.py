"""The main job in one command: `python -m edge.demo [--audio FILE]`.

Composes a synthetic room (or takes a recording of one's own), starts an MQTT broker on a free port of the loopback,
runs the real daemon on the sound as a second process, prints each event as it comes out of the broker, and ends with
what was in the scene, what was heard and how fast. All that it makes lies in a temporary folder and goes with it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import paho.mqtt.client as mqtt
import soundfile
from paho.mqtt.enums import CallbackAPIVersion

from edge.broker import HOST, PATIENCE_S, broker
from edge.clock import parse_rfc3339
from edge.config import ENVIRONMENT_PREFIX
from edge.errors import UserError
from edge.matching import count_events
from edge.scene import Scene, SceneEvent, compose_scene
from edge.settings import Parser
from edge.sources.file import FileSource
from edge.synthesis import SAMPLE_RATE_HZ

SITE, DEVICE = "demo", "room"
_TOPIC = f"acula/{SITE}/{DEVICE}/event"


@dataclass(frozen=True)
class Heard:
    """One event as it came over MQTT, in seconds from the start of the sound."""

    label: str
    onset_s: float
    duration_s: float
    score: float

    @property
    def offset_s(self) -> float:
        """End in seconds from the start of the sound."""
        return self.onset_s + self.duration_s


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; return the exit status, 2 with one line on standard error after a wrong input."""
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _run(_parse(arguments))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _leave(number: int, _: object) -> NoReturn:
    # An exception, unlike the signal's own way, lets the daemon be stopped and the folder be removed.
    sys.exit(128 + number)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m edge.demo", description="Hear a synthetic room, or a recording, over MQTT.")
    parser.add_argument("--audio", type=Path, metavar="FILE", help="a recording of one's own; default: synthetic room")
    parser.add_argument("--seconds", type=float, default=150.0, help="length of the synthetic room (default: 150)")
    parser.add_argument("--seed", type=int, default=1, help="another number is another room (default: 1)")
    parsed = parser.parse_args(arguments)
    if not 1.0 <= parsed.seconds <= 3600.0:
        raise UserError(f"--seconds {parsed.seconds:g} is out of range: give 1 to 3600")
    if parsed.seed < 0:
        raise UserError(f"--seed {parsed.seed} is negative: give 0 or more")
    return parsed


def _run(parsed: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory(prefix="acula-demo-") as name:
        folder, audio, scene = Path(name), parsed.audio, None
        if audio is None:
            scene, audio = compose_scene(parsed.seconds, parsed.seed), folder / "room.wav"
            soundfile.write(audio, scene.samples, SAMPLE_RATE_HZ, subtype="PCM_16")
        with contextlib.closing(FileSource(audio)) as source:
            duration_s = source.duration_s
        with broker() as port, Subscriber(port, _TOPIC) as subscriber:
            what = "a synthetic room" if scene else os.fsencode(audio).decode(errors="replace")
            print(f"{duration_s:.1f} s of {what}, heard over the MQTT broker on {HOST}:{port}\n", flush=True)
            begun = time.monotonic()
            with Daemon(audio, port, folder / "outbox.db") as daemon:
                heard = list(_print_events(daemon, subscriber))
            took_s = time.monotonic() - begun
    print(f"\n{compare(scene, heard) if scene else _count(heard)}")
    speed = duration_s / took_s
    print(f"\n{duration_s:.1f} s of sound in {took_s:.1f} s, the daemon's start included: {speed:.0f} times real time")
    return 0


def _print_events(daemon: Daemon, subscriber: Subscriber) -> Iterator[Heard]:
    """Print each event as it arrives, until the daemon has left and all that it sent is here."""
    print(f"{'time':>8}  {'label':<8}{'duration':>8}{'score':>7}", flush=True)
    arrived, left = 0, False
    while not (left and arrived >= daemon.events):
        left = daemon.has_left()
        payload = subscriber.next_event(PATIENCE_S if left and arrived < daemon.events else 0.1)
        if payload is None and left and arrived < daemon.events:
            raise UserError(f"{daemon.events - arrived} events did not arrive; run it again, and report it if it stays")
        if payload is None:
            continue
        arrived += 1
        onset_s = (parse_rfc3339(payload["onset"]) - daemon.began()).total_seconds()
        event = Heard(payload["label"], max(0.0, onset_s), payload["duration_s"], payload["score"])
        print(f"{event.onset_s:6.2f} s  {event.label:<8}{event.duration_s:6.2f} s{event.score:7.2f}", flush=True)
        yield event


def compare(scene: Scene, heard: Sequence[Heard]) -> str:
    """Return a table of what was in the scene and what was heard.

    Coughs are counted, so each is matched with one detection by its onset. A breath or an utterance has no sharp onset:
    it is found when a detection overlaps it, and a detection that overlaps none is false.
    """
    coughs = [event.onset_s for event in heard if event.label == "cough"]
    counts = count_events([event.onset_s for event in scene.of("cough")], coughs)
    rows = [("cough", counts.reference, counts.tp, counts.fp)]
    for label in ("breath", "speech"):
        events, detections = scene.of(label), [event for event in heard if event.label == label]
        found = sum(any(_overlap(event, detection) for detection in detections) for event in events)
        false = sum(not any(_overlap(event, detection) for event in events) for detection in detections)
        rows.append((label, len(events), found, false))
    table = [f"{label:<8}{there:>12}{found:>8}{false:>8}" for label, there, found, false in rows]
    head = f"{'':<8}{'in the room':>12}{'found':>8}{'false':>8}"
    return "\n".join([head, *table, f"{'knock':<8}{len(scene.of('knock')):>12}       -       -"])


def _overlap(event: SceneEvent, detection: Heard) -> bool:
    return event.onset_s < detection.offset_s and detection.onset_s < event.offset_s


def _count(heard: Sequence[Heard]) -> str:
    labels = sorted({event.label for event in heard})
    return "heard: " + (", ".join(f"{sum(e.label == label for e in heard)} x {label}" for label in labels) or "nothing")


class Daemon:
    """`edge run` on one file as a second process. Owns the process, and stops it if it is still there at the end."""

    def __init__(self, audio: Path, port: int, outbox: Path) -> None:
        """Start it, with the settings of the environment left aside but for those of the bundle."""
        settings = {
            "device.site": SITE,
            "device.name": DEVICE,
            "source.kind": "file",
            "source.path": audio,
            "source.pace": "fast",
            "mqtt.host": HOST,
            "mqtt.port": port,
            "outbox.path": outbox,
            "metrics.port": 0,
            "log.format": "json",
        }
        flags = [text for key, value in settings.items() for text in (f"--{key}", str(value))]
        kept = f"{ENVIRONMENT_PREFIX}BUNDLE__"
        environment = {
            key: value
            for key, value in os.environ.items()
            if key.startswith(kept) or not key.startswith(ENVIRONMENT_PREFIX)
        }
        self.events = 0
        """How many events it says it has found; known once it has left."""
        self._began: Future[datetime] = Future()
        self._complaint = ""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edge", "run", *flags],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Daemon:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process if it still runs."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def began(self) -> datetime:
        """UTC of the first sample, to a few milliseconds; waits for it where an event overtook what the log says."""
        return self._began.result(PATIENCE_S)

    def has_left(self) -> bool:
        """Whether it has ended well.

        Raises:
            UserError: it has ended with an error; with what it said.
        """
        status = self._process.poll()
        if status is None:
            return False
        self._reader.join()
        if status:
            raise UserError(self._complaint or f"the daemon ended with status {status}")
        return True

    def _read(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        for line in self._process.stderr:
            try:
                entry = json.loads(line)
            except ValueError:
                self._complaint = line.strip().removeprefix("error: ")
                continue
            if entry["event"] == "ready":
                # The daemon dates a file that it reads fast from the moment at which it begins, which is this one.
                self._began.set_result(parse_rfc3339(entry["timestamp"]))
            elif entry["event"] == "stopped":
                self.events = entry["events"]


class Subscriber:
    """A client of the broker that takes events. Owns the connection and its thread."""

    def __init__(self, port: int, topic: str) -> None:
        """Connect and subscribe; returns once the broker has accepted."""
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._topic = topic
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv311)
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._events.put(json.loads(message.payload))
        self._client.connect(HOST, port)
        self._client.loop_start()
        if not self._subscribed.wait(PATIENCE_S):
            self._client.loop_stop()
            raise UserError(f"the broker of the demo on port {port} does not answer; run it again")

    def __enter__(self) -> Subscriber:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next event's payload, or None when none comes in time."""
        with contextlib.suppress(queue.Empty):
            return self._events.get(timeout=timeout_s)
        return None


if __name__ == "__main__":
    sys.exit(main())
