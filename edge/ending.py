"""How a run of the daemon comes to its end: by a signal, or because it is to start anew.

Does: closes the sources when SIGTERM or SIGINT comes or a restart is due, and starts the program anew. Does not: end
the other parts (`edge.daemon` does, once the sources are done).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

import structlog

from edge.listeners import Listeners

log = structlog.get_logger()


class Ending:
    """The end of one run, in order."""

    def __init__(self, listeners: Listeners) -> None:
        """Nothing ends before a signal or `restart`."""
        self._listeners = listeners
        self._restart = threading.Event()
        self._reason = ""
        self._signalled = threading.Event()

    def on_signal(self) -> None:
        """Let the first SIGTERM or SIGINT end the sources, and with them the run; a second one kills."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def restart(self, reason: str = "another bundle is to run") -> None:
        """End the sources; once the run is over, `restart_if_due` starts the program anew. Any thread."""
        self._reason = reason
        self._restart.set()
        self._listeners.stop()

    @property
    def is_restart(self) -> bool:
        """Whether the program is to start anew; a signal wins."""
        return self._restart.is_set() and not self._signalled.is_set()

    def restart_if_due(self) -> None:
        """Start the program anew, in this process and with the same command line, where that is how the run ended."""
        if self.is_restart:
            log.info("restarting", reason=self._reason)
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the program itself

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Closing may wait for a lock; the handler must not, whatever it has interrupted.
        threading.Thread(target=self._stop, name="stop", daemon=True).start()

    def _stop(self) -> None:
        self._signalled.set()
        self._listeners.stop()
