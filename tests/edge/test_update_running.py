"""Which bundle a start runs: the new one on probation, confirmed after it, the old one again when it fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.config import Settings
from edge.errors import BundleError, UpdateError
from edge.pipeline import open_model
from edge.update.install import Installer
from edge.update.record import RecordFile
from edge.update.running import RunningBundle
from tests.updates import archive_of, settings

SCORES = np.full((50, 2), 0.5, np.float32)


@pytest.fixture
def device(tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Version 2.0.0 has just been installed on it."""
    device = settings(tiny_bundle_path, tmp_path / "state", probation_s=600.0)
    install(device, archive_of(tiny_bundle_path, tmp_path))
    return device


def install(device: Settings, archive: Path) -> None:
    assert Installer(device).install(str(archive)).switched


def start(device: Settings, time_s: list[float] | None = None) -> tuple[RunningBundle, str]:
    """One start of the daemon: what it runs, and its name."""
    at = time_s if time_s is not None else [0.0]
    running = RunningBundle(device, now=lambda: at[0])
    return running, running.open().name


def kept(device: Settings) -> int:
    return len(list((device.update_folder / "store").iterdir()))


def test_device_without_updates_runs_its_bundle_and_leaves_no_trace(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    running, name = start(device)
    running.progress(SCORES)
    running.end()
    assert name == "tiny-1.2.3"
    assert running.status() is None
    assert not (tmp_path / "state").exists()


def test_start_after_a_run_that_did_not_end_in_order_goes_back(device: Settings, logs: list[Any]) -> None:
    _, name = start(device)
    assert name == "tiny-2.0.0"
    running, name = start(device)
    assert name == "tiny-1.2.3"
    status = running.status()
    assert status is not None
    assert (status["state"], status["bundle"]) == ("rolled back", "tiny-2.0.0")
    assert status["reason"] == "run 1 of its probation did not end in order"
    assert [entry["event"] for entry in logs][-1] == "update_rolled_back"
    running.end()
    assert start(device)[1] == "tiny-1.2.3"


def test_start_after_an_end_in_order_goes_on_with_the_probation(device: Settings) -> None:
    for _ in range(3):
        running, name = start(device)
        assert name == "tiny-2.0.0"
        running.end()
    start(device)
    assert start(device)[1] == "tiny-1.2.3"


def test_ten_minutes_of_health_confirm_it_and_remove_the_old_one(
    device: Settings, tiny_bundle_path: Path, tmp_path: Path, logs: list[Any]
) -> None:
    time_s = [1000.0]
    running, _ = start(device, time_s)
    time_s[0] += 599.0
    running.progress(SCORES)
    assert running.status()["state"] == "probation"  # type: ignore[index]
    time_s[0] += 1.0
    running.progress(SCORES)
    running.progress(SCORES)
    assert [entry["event"] for entry in logs].count("update_confirmed") == 1
    assert running.status()["state"] == "confirmed"  # type: ignore[index]
    assert start(device)[1] == "tiny-2.0.0"
    # The next update has the confirmed one to go back to, and keeps it until it is confirmed itself.
    install(device, archive_of(tiny_bundle_path, tmp_path, "3.0.0"))
    assert kept(device) == 2
    assert start(device)[1] == "tiny-3.0.0"
    with pytest.raises(UpdateError, match="on probation still"):
        install(device, archive_of(tiny_bundle_path, tmp_path, "4.0.0"))
    running, name = start(device, time_s)
    assert name == "tiny-2.0.0"
    running.end()
    install(device, tmp_path / "room-3.0.0.tar")
    running, _ = start(device, time_s)
    time_s[0] += 600.0
    running.progress(SCORES)
    assert kept(device) == 1
    assert start(device)[1] == "tiny-3.0.0"


def test_hours_without_a_window_confirm_nothing(device: Settings) -> None:
    time_s = [0.0]
    start(device, time_s)
    time_s[0] += 7200.0
    assert start(device, time_s)[1] == "tiny-1.2.3"


def test_scores_of_live_sound_that_are_no_numbers_go_back_at_once(device: Settings) -> None:
    running, _ = start(device)
    left: list[int] = []
    running.on_left = lambda: left.append(1)
    running.progress(SCORES)
    running.progress(np.full((50, 2), np.nan, np.float32))
    running.progress(np.full((50, 2), np.nan, np.float32))
    assert left == [1]
    running.end()
    assert start(device)[1] == "tiny-1.2.3"


def test_new_bundle_that_does_not_open_goes_back_within_the_same_start(device: Settings, logs: list[Any]) -> None:
    next((device.update_folder / "store").iterdir()).joinpath("encoder.onnx").write_bytes(b"")
    running, name = start(device)
    assert name == "tiny-1.2.3"
    assert "it does not open: " in running.status()["reason"]  # type: ignore[index]
    assert "encoder.onnx is altered" in logs[-1]["reason"]


def test_confirmed_bundle_that_is_damaged_later_leaves_the_configured_one(device: Settings) -> None:
    time_s = [0.0]
    running, _ = start(device, time_s)
    time_s[0] += 600.0
    running.progress(SCORES)
    shutil.rmtree(next((device.update_folder / "store").iterdir()))
    assert start(device)[1] == "tiny-1.2.3"


def test_operator_who_sets_another_bundle_is_obeyed(device: Settings, tiny_bundle_path: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_bundle_path, tmp_path / "other")
    changed = device.model_copy(update={"bundle": device.bundle.model_copy(update={"path": str(other)})})
    assert start(changed)[1] == "tiny-1.2.3"
    assert RunningBundle(changed).status() is None
    assert start(device)[1] == "tiny-2.0.0"


@pytest.mark.parametrize("record", [b"", b"{}x", b'{"current": "../../evil"}', b'{"currant": ""}'])
def test_damaged_record_runs_the_configured_bundle_and_says_so(
    device: Settings, logs: list[Any], record: bytes
) -> None:
    (device.update_folder / "record.json").write_bytes(record)
    running, name = start(device)
    assert name == "tiny-1.2.3"
    assert "is damaged" in running.status()["reason"]  # type: ignore[index]
    assert logs[-1]["event"] == "update_record_unusable"


def test_configured_bundle_that_does_not_open_either_ends_the_start(device: Settings, tmp_path: Path) -> None:
    missing = device.model_copy(update={"bundle": device.bundle.model_copy(update={"path": str(tmp_path / "none")})})
    with pytest.raises(BundleError, match="no such folder"):
        start(missing)
    assert open_model(device.bundle).name == "tiny-1.2.3"


def test_record_is_private_and_every_change_is_whole(device: Settings) -> None:
    records = RecordFile(device.update_folder, device.bundle.path)
    assert (device.update_folder / "record.json").stat().st_mode & 0o777 == 0o600
    assert device.update_folder.stat().st_mode & 0o777 == 0o700
    assert records.change(lambda record: record) == records.read()
