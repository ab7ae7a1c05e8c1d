"""The real daemon as a process of its own, for tests."""

from __future__ import annotations

import fcntl
import json
import signal
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.brokers import PATIENCE_S, eventually

ROOT = Path(__file__).parents[1]
BASE = "acula/ward-3/bed-12"

WEDGED = """
import sys, threading
from pathlib import Path
import edge.backends.shared, edge.daemon, edge.device
from edge.backends.onnxruntime import OnnxRuntimeBackend
edge.backends.shared.SLOW_S = edge.daemon._STOP_S = edge.device.DRAIN_S = 0.5
wedge, infer = Path(sys.argv.pop(1)), OnnxRuntimeBackend.infer
def infer_or_hang(backend, waveform):
    while wedge.exists():
        threading.Event().wait(0.05)
    return infer(backend, waveform)
OnnxRuntimeBackend.infer = infer_or_hang
from edge.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The program, whose inference hangs for as long as a file exists."""


def is_gone(process: int) -> bool:
    """Whether it has ended; one that nobody has reaped yet, as of an init that does not, has."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state in "ZX"


class Daemon:
    """`python -m edge run` with a bundle for tests; a context manager that leaves no process behind."""

    def __init__(
        self,
        bundle: Path,
        folder: Path,
        port: int,
        *arguments: str,
        under: Sequence[str] = (),
        program: Sequence[str] = ("-m", "edge"),
    ) -> None:
        """Start it: unless told otherwise by `arguments`, it listens to standard input at 16 kHz.

        under: a command line before that of the program, which becomes it. program: what Python runs.
        """
        self.outbox = folder / "outbox.db"
        self._log = (folder / "daemon.log").open("w+b")
        command = [sys.executable, *program, "run", "--device.site", "ward-3", "--device.name", "bed-12"]
        command += ["--bundle.path", str(bundle), "--bundle.allow_unsigned", "--mqtt.port", str(port)]
        command += ["--outbox.path", str(self.outbox), "--source.kind", "stdin"]
        if "--source.kind" not in arguments:
            # A test may feed nothing for as long as a busy machine takes for the rest.
            command += ["--source.stall_s", "600"]
        command += ["--metrics.port", "0", *arguments]
        self.process = subprocess.Popen(
            [*under, *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log
        )

    def hear(self, sound: NDArray[np.float32]) -> None:
        """Pass (frames,) samples at 16 kHz on to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write((sound * 32767).astype("<i2").tobytes())
        self.process.stdin.flush()

    def wait_until_read(self) -> None:
        """Wait until it has read all that it was given: a signal leaves unheard what is still in the pipe."""
        pipe = self.process.stdin
        assert pipe is not None
        eventually(lambda: not any(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4))), "an empty pipe")

    def finish(self) -> int:
        """End its standard input and wait for the program's own end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(PATIENCE_S)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait until the log has a line of this event."""
        eventually(lambda: bool(self.logged(event)) or self.process.poll() is not None, f"{event} in the log")
        assert self.logged(event), self.errors()
        return self.logged(event)[0]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines of this event so far."""
        lines = [line for line in self.errors().splitlines() if line.startswith("{") and line.endswith("}")]
        return [entry for line in lines if (entry := json.loads(line))["event"] == event]

    def errors(self) -> str:
        """Everything on standard error so far."""
        self._log.seek(0)
        return self._log.read().decode()

    def __enter__(self) -> Daemon:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._log):
            if stream is not None and not stream.closed:
                stream.close()
