"""A device without a real-time clock: what it hears before its clock is set gets its true times afterwards."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import clock
from edge.backends.base import Backend
from edge.bundle import Bundle
from edge.clock import Reading
from edge.config import Settings
from edge.corrections import SLICE, Corrections
from edge.events import Event
from edge.hooks import Hooks
from edge.journal import Journal
from edge.listener import Listener
from edge.outbox import Outbox
from edge.payloads import Origin, to_bytes
from edge.pipeline import Model
from edge.sources.base import Block
from edge.untimed import UntimedFile
from tests.programs import ROOT
from tests.wards import Fed

BOOT_1970 = datetime(1970, 1, 1, 0, 0, 7, tzinfo=timezone.utc)
TRUE = datetime(2026, 11, 23, 22, 0, tzinfo=timezone.utc)
EVENT_TOPIC = "acula/ward-3/bed-12/event"


def unset(monotonic_s: float) -> Reading:
    return Reading(BOOT_1970 + timedelta(seconds=monotonic_s), monotonic_s, False)


def is_set(monotonic_s: float) -> Reading:
    return Reading(TRUE + timedelta(seconds=monotonic_s), monotonic_s, True)


def put(outbox: Outbox, corrections: Corrections, event_id: str, *, telemetry: bool = False) -> None:
    payload = {"event_id": event_id, "onset": "1970-01-01T00:00:19.000Z", "clock": "unsynced"}
    outbox.put(event_id, "acula/event", to_bytes(payload), telemetry=telemetry)
    corrections.note(event_id, "acula/event", payload, {"onset": 12.0}, telemetry=telemetry)


def waiting(outbox: Outbox) -> list[dict[str, Any]]:
    return [json.loads(row.payload) for row in outbox.pending(10_000)]


class Device:
    """A listener that heard nothing yet, its journal, and a clock in the hands of the test."""

    def __init__(self, bundle: Bundle, backend: Backend, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = unset(0.0)
        monkeypatch.setattr(clock, "read", lambda: self.now)
        self.corrections = Corrections(outbox, UntimedFile(outbox.path.with_name("untimed.jsonl")))
        origin = Origin("boot", "1", "tiny-1.2.3", "")
        self.journal = Journal(
            origin, "acula/ward-3/bed-12", outbox, corrections=self.corrections, hooks=Hooks(), notify=lambda: None
        )
        self.listener = Listener(
            "bed-12",
            Fed("bed-12"),
            Model(bundle, backend),
            Settings(),
            pace="live",
            keep=self.journal.keep,
            hooks=Hooks(),
        )
        self.listener.card.note(1.0, 11.0)  # sample 0 was recorded at 10 s of the monotonic clock

    def hear(self, onset_s: float) -> None:
        onset = round(onset_s * 16_000)
        self.journal.keep(self.listener, Event("cough", onset, onset + 4_800, 0.9))


@pytest.fixture
def device(tiny_bundle: Bundle, tiny_backend: Backend, outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> Device:
    return Device(tiny_bundle, tiny_backend, outbox, monkeypatch)


def test_event_that_waits_is_replaced_by_one_with_its_true_time(device: Device, outbox: Outbox) -> None:
    device.now = unset(14.0)
    device.hear(2.0)
    (event,) = waiting(outbox)
    assert (event["onset"], event["clock"], "revision" in event) == ("1970-01-01T00:00:19.000Z", "unsynced", False)
    assert device.corrections.turn(unset(15.0)) == 0
    assert device.corrections.turn(is_set(20.0)) == 1
    (revised,) = waiting(outbox)
    times = {"onset": "2026-11-23T22:00:12.000Z", "offset": "2026-11-23T22:00:12.300Z"}
    assert revised == {**event, **times, "clock": "synced", "historical": True, "revision": 1}
    assert device.corrections.turn(is_set(21.0)) == 0


def test_event_that_was_sent_is_followed_by_its_revision_with_the_same_id(device: Device, outbox: Outbox) -> None:
    device.now = unset(14.0)
    device.hear(2.0)
    (event,) = waiting(outbox)
    outbox.delete([event["event_id"]])
    device.corrections.turn(is_set(20.0))
    (revised,) = waiting(outbox)
    assert (revised["event_id"], revised["seq"], revised["revision"]) == (event["event_id"], 0, 1)


def test_event_whose_acknowledgement_comes_after_its_revision_does_not_take_it_along(
    device: Device, outbox: Outbox
) -> None:
    device.now = unset(14.0)
    device.hear(2.0)
    (in_flight,) = outbox.pending(1)
    device.corrections.turn(is_set(20.0))
    outbox.delete([in_flight.event_id])
    assert [event["revision"] for event in waiting(outbox)] == [1]


def test_event_after_the_clock_was_set_has_its_true_time_at_once(device: Device, outbox: Outbox) -> None:
    device.now = is_set(14.0)  # the sound began when nobody had set the clock
    device.hear(2.0)
    (event,) = waiting(outbox)
    assert (event["onset"], event["clock"]) == ("2026-11-23T22:00:12.000Z", "synced")
    assert device.corrections.turn(is_set(20.0)) == 0


def test_clock_that_is_set_back_an_hour_moves_the_next_event_with_it(device: Device, outbox: Outbox) -> None:
    device.now = is_set(14.0)
    device.hear(2.0)
    device.now = Reading(TRUE + timedelta(seconds=15.0 - 3_600), 15.0, True)
    device.hear(3.0)
    onsets = [event["onset"] for event in waiting(outbox)]
    assert onsets == ["2026-11-23T22:00:12.000Z", "2026-11-23T21:00:13.000Z"]


def test_many_events_are_corrected_in_turns_and_none_is_forgotten(device: Device, outbox: Outbox) -> None:
    device.now = unset(5_000.0)
    for number in range(SLICE + 30):
        device.hear(1.0 + number)
    assert [device.corrections.turn(is_set(6_000.0)) for _ in range(3)] == [SLICE, 30, 0]
    events = waiting(outbox)
    assert [event["seq"] for event in events] == list(range(SLICE + 30))
    assert {event["clock"] for event in events} == {"synced"}


KILLED = """
import os, signal, sys
from pathlib import Path
from edge.corrections import Corrections
from edge.outbox import Outbox
from edge.payloads import to_bytes
from edge.untimed import UntimedFile
path = Path(sys.argv[1])
outbox = Outbox(path, max_mb=10, max_age_days=1)
corrections = Corrections(outbox, UntimedFile(path.with_name("untimed.jsonl")))
for number in range(3):
    payload = {"event_id": f"event-{number}", "onset": "1970-01-01T00:00:19.000Z", "clock": "unsynced"}
    outbox.put(payload["event_id"], "acula/event", to_bytes(payload))
    corrections.note(payload["event_id"], "acula/event", payload, {"onset": 12.0 + number})
outbox.delete(["event-0"])  # which has been sent
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_before_its_clock_was_set(folder: Path) -> Outbox:
    """The outbox of a program that was killed, opened by the next one."""
    command = [sys.executable, "-c", KILLED, str(folder / "left.db")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    return Outbox(folder / "left.db", max_mb=10, max_age_days=1)


def test_events_of_a_program_that_was_killed_are_corrected_by_the_next(tmp_path: Path) -> None:
    outbox, file = killed_before_its_clock_was_set(tmp_path), tmp_path / "untimed.jsonl"
    with file.open("ab") as stream:
        stream.write(b'\n{"key": "half')  # of a line that a full disk has left
    corrections = Corrections(outbox, UntimedFile(file))
    corrections.note("event-3", "acula/event", {"event_id": "event-3", "onset": ""}, {"onset": 15.0})
    corrections = Corrections(outbox, UntimedFile(file))
    assert file.stat().st_mode & 0o777 == 0o600
    assert corrections.turn(is_set(20.0)) == 4
    told = {event["event_id"]: (event["onset"], event["revision"]) for event in waiting(outbox)}
    assert told == {f"event-{number}": (f"2026-11-23T22:00:{12 + number}.000Z", 1) for number in range(4)}
    assert not file.exists()
    outbox.close()


def test_times_from_before_the_machine_was_started_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = killed_before_its_clock_was_set(tmp_path)
    (tmp_path / "boot_id").write_text("another one\n")
    monkeypatch.setattr("edge.untimed.BOOT_ID", tmp_path / "boot_id")
    corrections = Corrections(outbox, UntimedFile(tmp_path / "untimed.jsonl"))
    assert corrections.turn(is_set(20.0)) == 0
    assert [event["clock"] for event in waiting(outbox)] == ["unsynced", "unsynced"]
    assert not (tmp_path / "untimed.jsonl").exists()
    outbox.close()


def test_file_of_a_device_whose_clock_is_never_set_stays_small(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.corrections.REMEMBERED", 10)
    file = tmp_path / "untimed.jsonl"
    for number in range(100):
        if number % 9 == 0:  # the program starts anew before a run of it has filled the file
            corrections = Corrections(outbox, UntimedFile(file))
        corrections.note(f"event-{number}", "acula/event", {"event_id": f"event-{number}"}, {"onset": 1.0})
    assert file.read_bytes().count(b"event_id") <= 20
    assert [untimed.key for untimed in UntimedFile(file).read()][-10:] == [f"event-{n}" for n in range(90, 100)]


CORRECTED_AND_KILLED = """
import os, signal, sys
from datetime import datetime, timezone
from pathlib import Path
from edge.clock import Reading
from edge.corrections import Corrections
from edge.outbox import Outbox
from edge.untimed import UntimedFile
path = Path(sys.argv[1])
outbox = Outbox(path, max_mb=10, max_age_days=1)
def dying(act):
    return lambda *arguments, **named: (act(*arguments, **named), os.kill(os.getpid(), signal.SIGKILL))
Outbox.put, Outbox.delete = dying(Outbox.put), dying(Outbox.delete)
Corrections(outbox, UntimedFile(path.with_name("untimed.jsonl"))).turn(Reading(datetime.now(timezone.utc), 20.0, True))
"""
"""The program, which is killed right after the first change that a correction makes to the outbox."""


def test_correction_that_is_killed_half_way_loses_no_event(tmp_path: Path) -> None:
    killed_before_its_clock_was_set(tmp_path).close()
    command = [sys.executable, "-c", CORRECTED_AND_KILLED, str(tmp_path / "left.db")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    outbox = Outbox(tmp_path / "left.db", max_mb=10, max_age_days=1)
    assert {event["event_id"] for event in waiting(outbox)} == {f"event-{number}" for number in range(3)}
    outbox.close()


def test_minutes_stay_telemetry_when_their_times_are_corrected(outbox: Outbox, tmp_path: Path) -> None:
    corrections = Corrections(outbox, UntimedFile(tmp_path / "untimed.jsonl"))
    put(outbox, corrections, "minute", telemetry=True)
    put(outbox, corrections, "event")
    assert corrections.turn(is_set(20.0)) == 2
    assert [row.telemetry for row in outbox.pending(10)] == [True, False]


def test_machine_whose_starts_cannot_be_told_apart_forgets_rather_than_tells_wrong_times(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.untimed.BOOT_ID", tmp_path / "none")
    put(outbox, Corrections(outbox, UntimedFile(tmp_path / "untimed.jsonl")), "event")
    assert Corrections(outbox, UntimedFile(tmp_path / "untimed.jsonl")).turn(is_set(20.0)) == 0


def test_times_that_stay_wrong_because_the_clock_was_not_set_for_too_long_are_told_once(
    outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any]
) -> None:
    monkeypatch.setattr("edge.corrections.REMEMBERED", 3)
    corrections = Corrections(outbox, UntimedFile(tmp_path / "untimed.jsonl"))
    for number in range(5):
        put(outbox, corrections, f"event-{number}")
        assert [entry["event"] for entry in logs].count("times_stay_unset") == int(number >= 3)
    assert corrections.turn(is_set(20.0)) == 3
    assert [event["clock"] for event in waiting(outbox)] == ["unsynced"] * 2 + ["synced"] * 3


def test_listener_of_live_sound_takes_its_time_from_the_arrival_of_blocks(
    tiny_bundle: Bundle, tiny_backend: Backend
) -> None:
    fed, found = Fed("bed-12"), []
    model = Model(tiny_bundle, tiny_backend)
    listener = Listener(
        "bed-12", fed, model, Settings(), pace="live", keep=lambda _l, event: found.append(event), hooks=Hooks()
    )
    listener.start()
    before = clock.read()
    fed.feed(Block(0, np.zeros((16_000, 1), np.float32)))
    # An hour without a microphone: the source knows how long it was.
    fed.feed(Block(3_601 * 16_000, np.zeros((16_000, 1), np.float32)))
    fed.close()
    listener.join(60)
    after = clock.read()
    end = listener.anchor(3_602 * 16_000, after)
    assert before.utc - timedelta(seconds=1) <= end.at(3_602 * 16_000) <= after.utc + timedelta(seconds=1)
