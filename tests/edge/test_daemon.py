"""The daemon as a user runs it: a process, a broker, a subscriber."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench.mosquitto import free_port
from tests.brokers import Broker, Subscriber, eventually, mosquitto, retained
from tests.programs import BASE, ROOT, Daemon

Sounds = Callable[..., NDArray[np.float32]]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.mark.broker
def test_file_is_heard_delivered_and_left_with_status_offline(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    ward = tmp_path / "ward.wav"
    soundfile.write(ward, sounds(16_000, 8.0, coughs=[1.0, 4.5], breaths=[6.0]), 16_000)
    file = ("--source.kind", "file", "--source.path", str(ward), "--source.pace", "fast")
    before = datetime.now(timezone.utc)
    with Subscriber(broker.port) as subscriber:
        with Daemon(tiny_bundle_path, tmp_path, broker.port, *file) as daemon:
            assert daemon.finish() == 0, daemon.errors()
            assert daemon.process.stdout is not None
            assert daemon.process.stdout.read() == b""
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        events = subscriber.payloads("/event")
        status = subscriber.payloads("/status")[-1]
    assert sorted(event["label"] for event in events) == ["breath", "cough", "cough"]
    assert [event["seq"] for event in events] == [0, 1, 2]
    assert {event["boot_id"] for event in events} == {status["boot_id"]}
    assert {event["source"] for event in events} == {"file:ward.wav"}
    first = min(datetime.fromisoformat(event["onset"].replace("Z", "+00:00")) for event in events)
    # The file's first sample is the start of the run, and the first cough lies a second into it.
    assert before + timedelta(seconds=0.9) < first < datetime.now(timezone.utc) + timedelta(seconds=1.1)
    assert (status["reason"], status["bundle"], status["outbox_depth"]) == ("stopped", "tiny-1.2.3", 0)
    assert '"dropped": 0' in daemon_log(tmp_path, "stopped")[0]
    ready = daemon_log(tmp_path, "ready")
    assert len(ready) == 1
    assert '"after_s"' in ready[0]


def daemon_log(folder: Path, event: str) -> list[str]:
    lines = (folder / "daemon.log").read_text().splitlines()
    return [line for line in lines if f'"event": "{event}"' in line]


@pytest.mark.broker
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_silent_stream_in_order(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds, number: signal.Signals
) -> None:
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
        daemon.wait_for("ready")
        # The cough is still within its window when the signal comes; the tail is analysed all the same.
        daemon.hear(sounds(16_000, 1.5, coughs=[1.0]))
        daemon.wait_until_read()
        eventually(lambda: (subscriber.payloads("/status") or [{}])[-1].get("state") == "online", "status online")
        assert daemon.stop(number) == 0, daemon.errors()
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        assert [event["label"] for event in subscriber.payloads("/event")] == ["cough"]
    last = retained(broker.port, f"{BASE}/status")
    assert last is not None
    assert last["reason"] == "stopped"


@pytest.mark.broker
def test_will_says_offline_when_the_daemon_is_killed(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    with Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
        eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "online", "status online")
        daemon.stop(signal.SIGKILL)
        eventually(lambda: (retained(broker.port, f"{BASE}/status") or {}).get("state") == "offline", "the will")
    last = retained(broker.port, f"{BASE}/status")
    assert last is not None
    assert (last["reason"], last["last_audio_at"], last["outbox_depth"]) == ("connection lost", None, None)


@pytest.mark.broker
def test_broker_absent_at_start_is_told_once_and_served_later(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:
        broker.keep_sessions()
        broker.kill()
        with Daemon(tiny_bundle_path, tmp_path, broker.port) as daemon:
            daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
            daemon.wait_for("event")
            daemon.wait_for("broker_unreachable")
            broker.start()
            eventually(lambda: len(subscriber.event_ids()) == 1, "the event that waited")
            assert subscriber.payloads("/event")[0]["historical"] is True
            daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
            eventually(lambda: len(subscriber.event_ids()) == 2, "an event as it happens")
            assert subscriber.payloads("/event")[1]["historical"] is False
            assert len(daemon.logged("broker_unreachable")) == 1


@pytest.mark.broker
def test_source_that_turns_bad_delivers_what_it_heard_and_ends_with_2(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    samples = sounds(16_000, 8.0, coughs=[1.0])
    samples[6 * 16_000] = np.nan
    soundfile.write(tmp_path / "ward.wav", samples, 16_000, subtype="FLOAT")
    file = ("--source.kind", "file", "--source.path", str(tmp_path / "ward.wav"), "--source.pace", "fast")
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *file) as daemon:
        assert daemon.finish() == 2
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        assert [event["label"] for event in subscriber.payloads("/event")] == ["cough"]
        assert "ward.wav: the sample at 6.000 s is nan" in subscriber.payloads("/status")[-1]["reason"]
        errors = [line for line in daemon.errors().splitlines() if not line.startswith("{")]
        assert len(errors) == 1
        assert errors[0].startswith(f"error: {tmp_path / 'ward.wav'}: the sample at 6.000 s is nan")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--source.kind", "file"), "source.path is empty"),
        (("--source.kind", "file", "--source.path", "/no/such.wav"), "/no/such.wav: no such file"),
        (("--outbox.path", "/proc/outbox.db"), "/proc/outbox.db: "),
        (("--mqtt.ca", "/etc/ca.pem"), "mqtt.tls is false"),
        (("--mqtt.host", "broker.ward"), "mqtt.host = broker.ward is another machine and mqtt.tls is false"),
        (("--mqtt.host", "broker..ward"), "mqtt.host = broker..ward can be no host name"),
        (("--no-bundle.allow_unsigned",), "bundle.trusted_keys is empty"),
    ],
)
def test_part_that_cannot_be_opened_is_one_line(
    tiny_bundle_path: Path, tmp_path: Path, arguments: tuple[str, ...], told: str
) -> None:
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *arguments) as daemon:
        assert daemon.finish() == 2
        assert daemon.errors().count("\n") == 1
        assert daemon.errors().startswith("error: ")
        assert told in daemon.errors()


def test_end_without_a_broker_says_how_many_messages_are_left(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
        daemon.wait_for("event")
        assert daemon.stop() == 0, daemon.errors()
        # The event, and the report of a minute or two.
        assert daemon.logged("stopped")[0]["waiting"] >= 2


def test_second_daemon_on_the_same_outbox_is_refused(tiny_bundle_path: Path, tmp_path: Path) -> None:
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as first:
        first.wait_for("ready")
        other = tmp_path / "other"
        other.mkdir()
        with Daemon(tiny_bundle_path, other, free_port(), "--outbox.path", str(first.outbox)) as second:
            assert second.finish() == 2
            assert "is in use by another process" in second.errors()


@pytest.mark.broker
def test_several_sources_of_which_one_is_missing(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    soundfile.write(tmp_path / "a.wav", sounds(16_000, 4.0, coughs=[1.0]), 16_000)
    soundfile.write(tmp_path / "b.wav", sounds(48_000, 4.0, breaths=[1.0]), 48_000)
    beds = {"bed-a": tmp_path / "a.wav", "bed-b": tmp_path / "b.wav", "bed-c": tmp_path / "missing.wav"}
    tables = [
        f'[[sources]]\nname = "{name}"\nkind = "file"\npath = "{path}"\npace = "fast"\n' for name, path in beds.items()
    ]
    tables.append('[[sources]]\nname = "bed-d"\nkind = "stdin"\n')
    (tmp_path / "edge.toml").write_text("".join(tables))
    arguments = ("--source.kind", "microphone", "--config", str(tmp_path / "edge.toml"))  # the default
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *arguments) as daemon:
        daemon.hear(sounds(16_000, 4.0, coughs=[1.0]))
        eventually(lambda: len(subscriber.event_ids()) >= 2, "events")
        eventually(lambda: "degraded" in subscriber.states(), "status degraded")
        assert daemon.finish() == 2
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        found = {(event["source"], event["label"]) for event in subscriber.payloads("/event")}
        reasons = {status["reason"] for status in subscriber.payloads("/status")}
    assert found == {("bed-a", "cough"), ("bed-b", "breath"), ("bed-d", "cough")}
    assert f"bed-c: {tmp_path / 'missing.wav'}: no such file" in reasons


@pytest.mark.broker
def test_every_source_reports_its_minutes_through_the_outbox(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    ward = tmp_path / "ward.wav"
    soundfile.write(ward, sounds(16_000, 75.0, coughs=[1.0, 70.0], breaths=[6.0]), 16_000)
    file = ("--source.kind", "file", "--source.path", str(ward), "--source.pace", "fast")
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *file) as daemon:
        assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        minutes = subscriber.payloads("/minute")
    assert len(minutes) in (2, 3)
    assert sum(minute["monitored_s"] for minute in minutes) == pytest.approx(75.0, abs=0.01)
    assert sum(minute["gap_s"] for minute in minutes) == pytest.approx(0.0, abs=0.01)
    assert sum(minute["counts"]["cough"] for minute in minutes) == 2
    assert all(minute["start"].endswith(":00.000Z") for minute in minutes[1:])
    assert {minute["source"] for minute in minutes} == {"file:ward.wav"}


@pytest.mark.broker
def test_run_and_replay_hear_the_same(tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds) -> None:
    ward = tmp_path / "ward.wav"
    stereo = np.stack([sounds(44_100, 30.0, coughs=np.arange(1.0, 29.0, 1.7), seed=seed) for seed in (1, 2)], axis=1)
    soundfile.write(ward, stereo, 44_100)
    file = ("--source.kind", "file", "--source.path", str(ward), "--source.pace", "fast")
    with Subscriber(broker.port) as subscriber, Daemon(tiny_bundle_path, tmp_path, broker.port, *file) as daemon:
        assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        ran = subscriber.payloads("/event")
    command = [sys.executable, "-m", "edge", "replay", str(ward), "--bundle.path", str(tiny_bundle_path)]
    command += ["--bundle.allow_unsigned", "--start", "2026-11-23T22:00:00Z"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout.splitlines()
    replayed = [json.loads(line) for line in lines]
    assert len(replayed) > 10
    heard = [[(event["label"], event["duration_s"], event["score"]) for event in events] for events in (ran, replayed)]
    assert heard[0] == heard[1]
    onsets = [[datetime.fromisoformat(event["onset"].replace("Z", "+00:00")) for event in e] for e in (ran, replayed)]
    shift = onsets[0][0] - onsets[1][0]
    # Both are cut to a millisecond.
    assert all(abs(a - b - shift) <= timedelta(milliseconds=1) for a, b in zip(*onsets, strict=True))
