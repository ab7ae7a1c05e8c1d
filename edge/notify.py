"""Tells systemd how the service is (sd_notify): ready, alive, stopping.

Does: speaks the protocol of sd_notify(3) over the socket that systemd names in the environment, and keeps the watchdog
content while there is progress. Does not: judge progress (whoever calls does). Without systemd it does nothing.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

import structlog

log = structlog.get_logger()


class Notifier:
    """One service manager, or none."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        address = environment.get("NOTIFY_SOCKET", "")
        # An @ stands for the zero byte that begins an abstract address.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        for_us = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        period = environment.get("WATCHDOG_USEC", "") if for_us else ""
        self.interval_s: float | None = int(period) / 2e6 if period.isdigit() and int(period) else None
        """Half of what the watchdog waits, as sd_watchdog_enabled(3) advises; None without a watchdog."""
        self._due = 0.0
        self._withheld = ""

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def turn(self, stuck: str) -> None:
        """To be called often: content the watchdog when that is due, unless `stuck` says why there is no progress."""
        if stuck != self._withheld:
            self._withheld = stuck
            if stuck:
                who = "systemd restarts" if self.interval_s is not None else "restart"
                log.error("stuck", reason=stuck, action=f"{who} the service unless this passes")
        if not stuck and time.monotonic() >= self._due:
            self.alive()

    def alive(self) -> None:
        """Content the watchdog now, whether that is due or not."""
        if self.interval_s is not None:
            self._due = time.monotonic() + self.interval_s
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(message.encode(), self._address)
        except OSError as error:
            # Where systemd does not hear, it acts by itself; listening goes on.
            log.warning("notify_failed", message=message, reason=str(error))
