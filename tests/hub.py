"""A hub of models on this machine: as much of its protocol as a download needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

FIRST, SECOND = "1" * 40, "2" * 40
"""Commits."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a list of files, or with a file."""
        path = self.path.partition("?")[0].strip("/").split("/")
        if path[:2] == ["api", "models"] and len(path) > 5:
            self._describe("/".join(path[2:4]), path[4], path[5])
        elif len(path) > 4 and path[2] == "resolve":
            self._send_file("/".join(path[:2]), path[3], path[4])
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the name is the library's

    def log_message(self, *_: object) -> None:
        """Keep quiet."""

    def _describe(self, model: str, what: str, revision: str) -> None:
        if model not in self.server.models:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif (commit := self._commit(model, revision)) is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            files = sorted(self.server.models[model][commit].iterdir())
            described: object = {"id": model, "sha": commit, "siblings": [{"rfilename": path.name} for path in files]}
            if what == "tree":
                described = [
                    {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": _digest(path)}
                    for path in files
                ]
            self._send(200, json.dumps(described).encode(), {"Content-Type": "application/json"})

    def _send_file(self, model: str, revision: str, name: str) -> None:
        commit = self._commit(model, revision)
        if model in self.server.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo"})
        elif commit is None:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        else:
            path = self.server.models[model][commit] / name
            self.server.sent.append(name)
            self._send(200, path.read_bytes(), {"ETag": f'"{_digest(path)}"', "X-Repo-Commit": commit})

    def _commit(self, model: str, revision: str) -> str | None:
        commit = {"main": FIRST, "next": SECOND}.get(revision, revision)
        return commit if commit in self.server.models[model] else None

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    models: dict[str, dict[str, Path]]
    gated: set[str]
    sent: list[str]


@contextmanager
def hub(models: dict[str, dict[str, Path]], gated: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Serve models, each a folder a commit.

    Yields:
        The address, and the names of the files that were asked for.
    """
    server = _Server(("127.0.0.1", 0), _Handler)
    server.models, server.gated, server.sent = models, gated, []
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _digest(path: Path) -> str:
    return hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
