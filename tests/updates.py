"""Bundles to update to, for the tests of updates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edge.config import Settings
from edge.update.archive import pack


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
