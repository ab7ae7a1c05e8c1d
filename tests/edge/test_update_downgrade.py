"""A bundle that is older than the one that has run here: taken by hand alone, for its signature never expires."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge.config import Settings
from edge.errors import UpdateError
from edge.update.archive import pack
from edge.update.install import Installer
from edge.update.running import RunningBundle
from edge.update.version import is_older
from tests.updates import archive_of, next_version, refuse, settings

SCORES = np.full((50, 2), 0.5, np.float32)


@pytest.mark.parametrize(
    ("version", "known", "older"),
    [
        ("1.2.2", "1.2.3", True),
        ("1.2.3", "1.2.3", False),
        ("1.10.0", "1.9.0", False),
        ("1.9.0", "1.10.0", True),
        ("1", "1.0.0", False),
        ("1.0", "1.0.1", True),
        ("nightly", "nightly", False),
        ("nightly", "1.2.3", True),
        ("1.2.3", "nightly", True),
    ],
)
def test_versions_are_told_by_their_numbers(version: str, known: str, older: bool) -> None:
    assert is_older(version, known) is older


@pytest.fixture
def device(tiny_bundle_path: Path, tmp_path: Path) -> Settings:
    """It runs the configured bundle, tiny-1.2.3."""
    return settings(tiny_bundle_path, tmp_path / "state", probation_s=600.0)


def confirm(device: Settings) -> str:
    """Run what is installed through its probation; its name."""
    time_s = [0.0]
    running = RunningBundle(device, now=lambda: time_s[0])
    name = running.open().name
    time_s[0] += 600.0
    running.progress(SCORES)
    running.end()
    return name


def install(device: Settings, archive: Path) -> None:
    assert Installer(device).install(str(archive)).switched


def another(bundle: Path, folder: Path) -> Path:
    """The bundle under another name, as one `.tar`."""
    copy = next_version(bundle, folder, "0.1.0")
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"name": "other"}))
    return pack(copy, folder / "other.tar")


def test_bundle_older_than_the_configured_one_is_refused(
    device: Settings, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    told = "tiny-1.2.2 is older than tiny-1.2.3, which has run here: only python -m edge update --allow_downgrade"
    refuse(device, archive_of(tiny_bundle_path, tmp_path, "1.2.2"), told)


def test_bundle_older_than_a_confirmed_one_is_refused_whatever_runs_now(
    device: Settings, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    install(device, archive_of(tiny_bundle_path, tmp_path, "2.0.0"))
    assert confirm(device) == "tiny-2.0.0"
    install(device, another(tiny_bundle_path, tmp_path))
    assert confirm(device) == "other-0.1.0"
    older = archive_of(tiny_bundle_path, tmp_path, "1.9.9")
    with pytest.raises(UpdateError, match=r"tiny-1\.9\.9 is older than tiny-2\.0\.0"):
        Installer(device).install(str(older))


def test_operator_may_go_back_and_on_from_there(device: Settings, tiny_bundle_path: Path, tmp_path: Path) -> None:
    older = archive_of(tiny_bundle_path, tmp_path, "1.0.0")
    assert Installer(device).install(str(older), allow_downgrade=True).switched
    assert confirm(device) == "tiny-1.0.0"
    install(device, archive_of(tiny_bundle_path, tmp_path, "1.1.0"))
    assert confirm(device) == "tiny-1.1.0"


def test_bundle_older_than_the_configured_one_is_refused_once_that_runs_for_want_of_the_confirmed_one(
    device: Settings, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path, "1.0.0")), allow_downgrade=True)
    assert confirm(device) == "tiny-1.0.0"
    records = Installer(device).records
    (records.store / records.read().current / "manifest.json").write_text("damaged")
    assert RunningBundle(device).open().name == "tiny-1.2.3"
    refuse(device, archive_of(tiny_bundle_path, tmp_path, "1.1.0"), "tiny-1.1.0 is older than tiny-1.2.3")


def test_version_that_failed_is_no_measure_for_the_next(
    device: Settings, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    install(device, archive_of(tiny_bundle_path, tmp_path, "3.0.0"))
    RunningBundle(device).open()
    assert RunningBundle(device).open().name == "tiny-1.2.3"  # the run before did not end in order
    install(device, archive_of(tiny_bundle_path, tmp_path, "1.3.0"))
    assert confirm(device) == "tiny-1.3.0"


def test_bundle_that_was_left_after_another_was_confirmed_forgets_nothing(
    device: Settings, tiny_bundle_path: Path, tmp_path: Path
) -> None:
    install(device, archive_of(tiny_bundle_path, tmp_path, "2.0.0"))
    confirm(device)
    install(device, archive_of(tiny_bundle_path, tmp_path, "3.0.0"))
    RunningBundle(device).open()
    assert RunningBundle(device).open().name == "tiny-2.0.0"
    with pytest.raises(UpdateError, match=r"tiny-1\.9\.0 is older than tiny-2\.0\.0"):
        Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path, "1.9.0")))
