"""Starts a program that dies when its parent does: ``python -m edge.sources.leash ffmpeg ...``.

Does: asks the kernel for SIGKILL at the parent's end, and becomes the program. Does not: watch anything.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends, however it ends; see prctl(2)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Become the program of the command line."""
    die_with_parent()
    try:
        os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.exit(f"error: {sys.argv[1]}: {error.strerror}")


if __name__ == "__main__":
    main()
