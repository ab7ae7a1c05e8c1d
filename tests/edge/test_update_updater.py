"""Who asks for updates: requests that cannot be, files that a crash has left, folders that are no archives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.config import Settings
from edge.hooks import Hooks
from edge.update.record import RecordFile
from edge.update.updater import Updater, UpdateResult
from tests.brokers import PATIENCE_S, eventually
from tests.updates import archive_of, settings

URL = "https://updates.example/room.tar"


class Device:
    """An updater, and the restarts that it asked for."""

    def __init__(self, device: Settings) -> None:
        self.switched = threading.Event()
        self.inbox = device.update_folder / "inbox"
        self.updater = Updater(device, Hooks(), self.switched.set)

    def ask(self, url: str, sha256: str) -> UpdateResult:
        """Request, and wait for the answer."""
        answered = threading.Event()
        results: list[UpdateResult] = []

        def done(result: UpdateResult) -> None:
            results.append(result)
            answered.set()

        self.updater.request(url, sha256, done)
        assert answered.wait(PATIENCE_S)
        return results[0]


@pytest.fixture
def device(tiny_bundle_path: Path, tmp_path: Path) -> Iterator[Device]:
    device = Device(settings(tiny_bundle_path, tmp_path / "state", enabled=True))
    yield device
    device.updater.stop(PATIENCE_S)


@pytest.mark.parametrize(
    ("url", "sha256", "told"),
    [
        ("/etc/passwd", "0" * 64, "/etc/passwd: is no URL"),
        (URL, "", "sha256 is to be that of the archive, 64 hexadecimal digits"),
        (URL, "0" * 64, "updates.example on port 443 is not among update.hosts"),
    ],
)
def test_request_that_cannot_be_is_refused_with_the_reason(device: Device, url: str, sha256: str, told: str) -> None:
    device.updater.start()
    result = device.ask(url, sha256)
    assert (result.accepted, result.switched) == (False, False)
    assert told in result.reason
    assert not device.switched.is_set()


def test_request_that_waits_keeps_others_out_and_is_answered_when_the_daemon_stops(device: Device) -> None:
    # Nothing is taken up before the start.
    results: list[UpdateResult] = []
    device.updater.request(URL, "0" * 64, results.append)
    assert "another update waits already" in device.ask(URL, "0" * 64).reason
    assert results == []
    device.updater.stop(PATIENCE_S)
    assert [result.reason for result in results] == [f"{URL}: the daemon stops; give the command again"]


def test_archive_that_a_crash_has_interrupted_is_set_aside_and_told(device: Device, logs: list[Any]) -> None:
    (device.inbox / "room.tar.taken").write_bytes(b"half")
    device.updater.start()
    eventually(lambda: (device.inbox / "room.tar.refused").exists(), "its new name")
    assert not (device.inbox / "room.tar.taken").exists()
    assert [entry["event"] for entry in logs] == ["update_interrupted"]


def test_archive_is_taken_once_and_a_folder_or_another_name_never(
    device: Device, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    (device.inbox / "folder.tar").mkdir()
    (device.inbox / ".hidden.tar").write_bytes(b"")
    (device.inbox / "notes.txt").write_bytes(b"")
    archive_of(tiny_bundle_path, tmp_path).rename(device.inbox / "room-2.0.0.tar")
    device.updater.start()
    assert device.switched.wait(PATIENCE_S)
    left = {path.name for path in device.inbox.iterdir()}
    assert left == {"folder.tar.refused", ".hidden.tar", "notes.txt"}
    records = RecordFile(tmp_path / "state" / "bundles", str(tiny_bundle_path))
    assert records.read().name == "tiny-2.0.0"


def test_archive_that_somebody_is_still_copying_is_left_alone(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("edge.update.updater.time.monotonic", lambda: now_s)
    archive = device.inbox / "room.tar"
    for size in range(1, 10):
        archive.write_bytes(bytes(size))
        assert device.updater._settled() is None
        now_s += 2.0
    assert device.updater._settled() is None
    now_s += 2.0
    assert device.updater._settled() == archive


def test_archive_whose_trial_the_end_of_the_daemon_breaks_off_stays_for_the_next_start(
    device: Device, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    archive_of(tiny_bundle_path, tmp_path).rename(device.inbox / "room-2.0.0.tar")
    device.updater.start()
    eventually((device.inbox / "room-2.0.0.tar.taken").exists, "the installation")
    device.updater.stop(PATIENCE_S)
    assert [path.name for path in device.inbox.iterdir()] == ["room-2.0.0.tar"]


@pytest.mark.parametrize("step", ["_put_aside_interrupted", "_settled"])
def test_defect_in_the_updater_costs_no_later_update(
    device: Device, tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logs: list[Any], step: str
) -> None:
    monkeypatch.setattr("edge.update.updater._TROUBLE_S", 0.0)
    original, failed = getattr(Updater, step), threading.Event()

    def fail_once(updater: Updater) -> Any:
        if not failed.is_set():
            failed.set()
            raise ZeroDivisionError("a defect")
        return original(updater)

    monkeypatch.setattr(Updater, step, fail_once)
    archive_of(tiny_bundle_path, tmp_path).rename(device.inbox / "room-2.0.0.tar")
    device.updater.start()
    assert device.switched.wait(PATIENCE_S)
    assert logs[0]["event"] == "updater_failed"
