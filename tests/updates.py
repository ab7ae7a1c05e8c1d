"""Bundles made of the one for tests: of other versions, as archives, with another label."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from edge.bundle import write_manifest
from edge.config import Settings
from edge.errors import UpdateError
from edge.manifest import Manifest
from edge.update.archive import pack
from edge.update.install import Installer
from edge.update.record import RecordFile


def settings(bundle: Path, state: Path, **update: Any) -> Settings:
    """Those of a device that runs `bundle` and keeps its state in `state`."""
    return Settings.model_validate(
        {
            "bundle": {"path": str(bundle), "allow_unsigned": True},
            "outbox": {"path": str(state / "outbox.db")},
            "update": update,
        }
    )


def next_version(bundle: Path, folder: Path, version: str = "2.0.0") -> Path:
    """The same bundle under another version, in a folder of its own below `folder`."""
    copy = folder / f"bundle-{version}"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"version": version}))
    return copy


def archive_of(bundle: Path, folder: Path, version: str = "2.0.0") -> Path:
    """The same bundle under another version, as one `.tar`."""
    return pack(next_version(bundle, folder, version), folder / f"room-{version}.tar")


def knowing_speech(folder: Path) -> Path:
    """The bundle in `folder` as version 3.0.0, whose bursts of low noise stand for speech now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["labels"][1]["name"] = "speech"
    write_manifest(folder, Manifest.model_validate(manifest | {"version": "3.0.0"}))
    return folder


def tree(folder: Path) -> set[str]:
    """What lies below a folder but the record, which says why an update was refused, and what is next to it."""
    kept = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    return {name for name in kept if not name.endswith((".lock", ".part")) and name != "record.json"}


def refuse(device: Settings, archive: Path, told: str, sha256: str = "") -> None:
    """The archive is refused with these words, in one line that names it, and nothing but the reason is kept."""
    before = RecordFile(device.update_folder, device.bundle.path).read()
    with pytest.raises(UpdateError, match=told) as refusal:
        Installer(device).install(str(archive), sha256)
    assert str(refusal.value).startswith(str(archive))
    assert "\n" not in str(refusal.value)
    assert "incoming" not in str(refusal.value)
    after = RecordFile(device.update_folder, device.bundle.path).read()
    assert after.outcome is not None
    assert (after.outcome.state, after.outcome.reason) == ("refused", str(refusal.value))
    assert after.model_copy(update={"outcome": None}) == before.model_copy(update={"outcome": None})
    assert tree(device.update_folder) == set()
