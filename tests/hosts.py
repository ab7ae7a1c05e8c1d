"""A host of archives for tests: well behaved, slow, lying, redirecting."""

from __future__ import annotations

import contextlib
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

CONTENT = bytes(range(256)) * 3000


class _Handler(http.server.BaseHTTPRequestHandler):
    """What the path asks for."""

    server: Host

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization", "")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path.removeprefix("/to/")])
            self.end_headers()
        elif self.path in self.server.archives:
            content = self.server.archives[self.path]
            self._answer(len(content), content)
        elif self.path.startswith("/room.tar"):
            self._answer(len(CONTENT), CONTENT)
        elif self.path == "/half.tar":
            self._answer(len(CONTENT), CONTENT[: len(CONTENT) // 2])
        elif self.path == "/large.tar":
            self._answer(2_000_000, b"")
        elif self.path == "/endless.tar":
            self._answer(None, bytes(1_100_000))
        elif self.path == "/silent.tar":
            self._answer(len(CONTENT), CONTENT[:1000])
            self.server.released.wait(60)
        else:
            self.send_error(404)

    def _answer(self, length: int | None, content: bytes) -> None:
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


class Host(http.server.ThreadingHTTPServer):
    """An HTTPS server on a free loopback port, and what it was asked: path and Authorization."""

    def __init__(self, certificates: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[tuple[str, str]] = []
        self.redirects: dict[str, str] = {}
        self.archives: dict[str, bytes] = {}
        self.released = threading.Event()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "broker.pem", certificates / "broker.key")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def serving(certificates: Path) -> Iterator[Host]:
    """A host with the certificate for the broker that `tests.certificates` has made in this folder."""
    with Host(certificates) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()
