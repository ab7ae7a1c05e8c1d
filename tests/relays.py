"""What lies between a browser and a daemon, in the hands of a test."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class Relay:
    """Between the browser and a daemon: a thread for each connection and direction; a context manager."""

    def __init__(self, port: int) -> None:
        """port: the daemon's, on the loopback."""
        self.port = port
        """Whom connections from now on are for."""
        self._cut = 0
        """How often the power was cut: connections from before pass nothing on, and stay open."""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Let the daemon be gone without a word, as one without power or network is."""
        self._cut += 1

    def _accept(self) -> None:
        with suppress(OSError):  # it is over
            while True:
                browser, _ = self._listening.accept()
                self._ends.append(browser)
                try:
                    daemon = socket.create_connection(("127.0.0.1", self.port))
                except OSError:
                    browser.close()
                    continue
                self._ends.append(daemon)
                for ends in [(browser, daemon), (daemon, browser)]:
                    threading.Thread(target=self._pass, args=(*ends, self._cut), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, cut: int) -> None:
        with suppress(OSError):
            while (data := source.recv(65_536)) and cut == self._cut:
                sink.sendall(data)
            if cut == self._cut:
                sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        for end in [self._listening, *self._ends]:
            end.close()
