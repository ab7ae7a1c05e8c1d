"""Clips of the daemon: none unless turned on, none with speech in it, none from a bundle that knows no speech."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench.mosquitto import free_port
from tests.brokers import Broker, Subscriber, eventually
from tests.programs import Daemon
from tests.updates import knowing_speech

Sounds = Callable[..., NDArray[np.float32]]


@pytest.mark.broker
def test_cough_is_kept_unless_somebody_speaks_within_its_clip(
    tiny_bundle_copy: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    bundle = knowing_speech(tiny_bundle_copy)
    with (
        Subscriber(broker.port) as subscriber,
        Daemon(bundle, tmp_path, broker.port, "--clips.enabled", "--clips.min_free_mb", "1") as daemon,
    ):
        daemon.wait_for("ready")
        # The second cough is 0.6 s after speech, which lies in its pre-roll.
        daemon.hear(sounds(16_000, 14.0, coughs=[3.0, 8.9], breaths=[8.0]))
        eventually(lambda: len(subscriber.payloads("/event")) == 3, "three events")
        eventually(lambda: len(list((tmp_path / "clips").glob("*.flac"))) == 1, "the clip")
        assert daemon.finish() == 0, daemon.errors()
        events = subscriber.payloads("/event")
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        status = subscriber.payloads("/status")[-1]
    (path,) = (tmp_path / "clips").iterdir()
    first = next(event for event in events if event["label"] == "cough")
    assert path.name == f"{first['event_id']}.flac"
    samples, rate_hz = soundfile.read(path)
    assert rate_hz == 16_000
    assert abs(len(samples) / rate_hz - (1.0 + first["duration_s"] + 0.5)) < 0.03
    assert status["clips"] == {"written": 1, "dropped": 0, "speech": 1, "unknown": 0}


@pytest.mark.broker
def test_disk_without_room_for_clips_costs_no_event(
    tiny_bundle_copy: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    bundle = knowing_speech(tiny_bundle_copy)
    with (
        Subscriber(broker.port) as subscriber,
        Daemon(bundle, tmp_path, broker.port, "--clips.enabled", "--clips.min_free_mb", "1000000") as daemon,
    ):
        daemon.wait_for("ready")
        daemon.hear(sounds(16_000, 9.0, coughs=[3.0]))
        daemon.wait_for("clips_dropped")
        eventually(lambda: len(subscriber.payloads("/event")) == 1, "the event")
        eventually(lambda: "degraded" in subscriber.states(), "status degraded")
        assert daemon.finish() == 0, daemon.errors()
        eventually(lambda: subscriber.states()[-1:] == ["offline"], "status offline")
        assert subscriber.payloads("/status")[-1]["clips"]["dropped"] == 1
    assert list((tmp_path / "clips").iterdir()) == []


def test_nothing_is_kept_unless_clips_are_on(tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds) -> None:
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.hear(sounds(16_000, 8.0, coughs=[3.0]))
        daemon.wait_for("event")
        daemon.stop()
    left = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    left = {name.removesuffix("-wal").removesuffix("-shm").removesuffix(".lock") for name in left}
    # Where nobody has set the clock, what the events say is kept as well.
    assert left - {"untimed.jsonl"} == {"outbox.db", "daemon.log"}


def test_bundle_that_knows_no_speech_refuses_clips_in_one_line(tiny_bundle_path: Path, tmp_path: Path) -> None:
    with Daemon(tiny_bundle_path, tmp_path, free_port(), "--clips.enabled") as daemon:
        assert daemon.finish() == 2
        assert daemon.errors().startswith("error: clips.enabled is true, but bundle tiny has no label speech")
        assert daemon.errors().count("\n") == 1


def test_update_to_a_bundle_that_knows_no_speech_is_refused_while_clips_are_on(
    tiny_bundle_copy: Path, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    from edge.errors import UpdateError
    from edge.update.install import Installer
    from tests.updates import archive_of, settings

    device = settings(knowing_speech(tiny_bundle_copy), tmp_path / "state")
    with_clips = device.model_copy(update={"clips": device.clips.model_copy(update={"enabled": True})})
    archive = archive_of(tiny_bundle_path, tmp_path, "4.0.0")
    with pytest.raises(UpdateError, match=r"trial: clips\.enabled is true, but bundle tiny has no label speech"):
        Installer(with_clips).install(str(archive))
