"""Stops a program at a known place, for tests of what it goes on from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# A file comes to its place by a rename (`align.files`), and no clock decides how far the program is by then.
PROGRAM = """
import os, runpy, sys
from pathlib import Path

number, name, move = int(sys.argv[1]), sys.argv[2], Path.replace

def replace(path, target):
    moved = move(path, target)
    if Path(target).name == name:
        os.kill(os.getpid(), number)
    return moved

Path.replace = replace
sys.argv = sys.argv[3:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def stopped_after_writing(
    name: str, module: str, *flags: str, how: signal.Signals = signal.SIGKILL
) -> subprocess.CompletedProcess[str]:
    """Run `python -m module flags` and send it a signal whenever a file of this name is whole on disk."""
    command = [sys.executable, "-c", PROGRAM, str(int(how)), name, module, *flags]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    expected = 130 if how == signal.SIGINT else -how
    assert run.returncode == expected, run.stderr[-2000:]
    return run
