"""One capture child: a process that writes sound to its standard output and complaints to its standard error.

Does: starts it in a session of its own, reads it without waiting for it, and ends it whatever it does. Does not: know
what the bytes mean, judge the child, or start another (`edge.sources.supervised` does).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import structlog

log = structlog.get_logger()

PIPE_BYTES = 1 << 20
"""Some seconds of sound, so that a busy analysis does not make the child wait and the device overflow."""
READ_BYTES = 1 << 18
GRACE_S = 1.0
"""What a child has for closing its device, after SIGTERM."""
KILL_S = 5.0
"""What the kernel has for ending a killed child; one that hangs in a driver may take for ever, and is left behind."""
COMPLAINT_BYTES = 4096

_PACKAGE_ROOT = Path(__file__).parents[2]


class Child:
    """Owns the process and its pipes. One thread reads; any thread may `stop`."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises OSError when it cannot be started."""
        # Without this program's settings, among which may be a password.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ACULA_EDGE")}
        # The child finds this package as its parent did, and PortAudio does not start a JACK server.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_PACKAGE_ROOT), environment.get("PYTHONPATH")]))
        environment["JACK_NO_START_SERVER"] = "1"
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            # A group of its own, which can be killed as a whole, and out of the terminal's: Ctrl-C must reach the
            # parent first, which then ends the child in order.
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - both are pipes
        assert self._process.stderr is not None  # noqa: S101
        self._output, self._errors = self._process.stdout, self._process.stderr
        self._open = [self._output.fileno(), self._errors.fileno()]
        self._complaint = b""
        self._stopping = threading.Lock()
        self._stopped = False
        with contextlib.suppress(OSError):  # an ordinary user may have spent his allowance of large pipes
            fcntl.fcntl(self._output, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @property
    def complaint(self) -> str:
        """What it says is wrong: its last line that begins with ``error:``, else its last line."""
        lines = [line.strip() for line in self._complaint.decode(errors="replace").splitlines() if line.strip()]
        told = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
        return (told or lines or [""])[-1]

    def read(self, timeout_s: float) -> bytes | None:
        """What it has written; None when nothing came in time, empty when it will write no more."""
        deadline = time.monotonic() + timeout_s
        while self._output.fileno() in self._open:
            left_s = deadline - time.monotonic()
            ready = select.select(self._open, [], [], max(0.0, left_s))[0]
            if self._errors.fileno() in ready:
                self._take_complaint()
            if self._output.fileno() in ready:
                data = os.read(self._output.fileno(), READ_BYTES)
                if not data:
                    self._open.remove(self._output.fileno())
                    if self._errors.fileno() in self._open and select.select([self._errors], [], [], 0.0)[0]:
                        self._take_complaint()
                return data
            if left_s <= 0:
                return None
        return b""

    def stop(self) -> None:
        """End it and whatever it has started: SIGTERM, then SIGKILL. Any number of times."""
        with self._stopping:
            if self._stopped:
                return
            self._stopped = True
            self._signal(signal.SIGTERM)
            self._wait_unreaped(GRACE_S)
            # Before it is reaped, so that its number cannot have passed to another group.
            self._signal(signal.SIGKILL)
            try:
                self._process.wait(KILL_S)
            except subprocess.TimeoutExpired:
                log.warning("child_left_behind", pid=self._process.pid, reason="it cannot be killed")

    def close(self) -> None:
        """End it and release the pipes; in the reading thread."""
        self.stop()
        self._output.close()
        self._errors.close()

    def _take_complaint(self) -> None:
        text = os.read(self._errors.fileno(), READ_BYTES)
        self._complaint = (self._complaint + text)[-COMPLAINT_BYTES:]
        if not text:
            self._open.remove(self._errors.fileno())

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def _wait_unreaped(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                return
            time.sleep(0.01)
