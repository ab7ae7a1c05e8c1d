"""Which board this is: what an engine is bound to, and what its speed depends on.

Reads what Linux for Tegra keeps in files, and asks `nvpmodel` for the power mode; on another machine those are empty.
Not yet run on hardware.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Board:
    """A machine with TensorRT."""

    tensorrt: str
    """Version, as `10.3.0`."""
    sm: str
    """Compute capability of the GPU, as `8.7`."""
    l4t: str
    """Release of Linux for Tegra, which each JetPack has its own of, as `36.4.3`; empty on another machine."""
    model: str = ""
    """As the device tree names it."""
    power_mode: str = ""
    """Of `nvpmodel`; the speed depends on it, the engine does not."""


def read_board(tensorrt: str, sm: str, root: Path = Path("/")) -> Board:
    """What this machine says of itself, beside what TensorRT and CUDA say.

    root: where its file system begins.
    """
    return Board(tensorrt, sm, _l4t(root), _model(root), _power_mode())


def _l4t(root: Path) -> str:
    found = re.search(r"# R(\d+) \(release\), REVISION: ([\d.]+)", _text(root / "etc/nv_tegra_release"))
    return f"{found[1]}.{found[2]}" if found else ""


def _model(root: Path) -> str:
    return _text(root / "proc/device-tree/model").strip("\0\n ")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _power_mode() -> str:
    try:
        told = subprocess.run(["nvpmodel", "-q"], capture_output=True, text=True, check=False, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"NV Power Mode: *(\S+)", told)
    return found[1] if found else ""
