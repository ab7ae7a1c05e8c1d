"""What a test needs of the machine: without it the test skips and names it, and fails in CI."""

from __future__ import annotations

import os
import subprocess
from typing import NoReturn

import pytest

MOUNTING = ("unshare", "--map-root-user", "--mount")
"""Goes before a command that mounts file systems which only it and its children see."""


def lacking(what: str) -> NoReturn:
    """End the test: the machine lacks something."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def need_mounts() -> None:
    """End the test where no file system can be mounted."""
    try:
        done = subprocess.run([*MOUNTING, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    except FileNotFoundError:
        lacking("unshare is not installed")
    if done.returncode:
        lacking(f"no file system can be mounted here: {done.stderr.decode().strip()}")
