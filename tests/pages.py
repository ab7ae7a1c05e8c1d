"""The page of a running daemon, read as a browser reads it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.brokers import PATIENCE_S
from tests.programs import Daemon

ON = ("--dashboard.enabled", "--dashboard.port", "0")


def place_of(daemon: Daemon) -> tuple[str, int]:
    """Host and port at which a daemon serves its page."""
    place = urlsplit(str(daemon.wait_for("dashboard")["address"]))
    assert place.hostname is not None and place.port is not None
    return place.hostname, place.port


class Page:
    """A connection to the page's stream; a context manager."""

    def __init__(self, daemon: Daemon, path: str = "/stream") -> None:
        self._connection = http.client.HTTPConnection(*place_of(daemon), timeout=PATIENCE_S)
        self._connection.request("GET", path)
        self.answer = self._connection.getresponse()

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Kind and content of what comes, until the stream ends."""
        while kind := self.answer.readline().decode():
            content = self.answer.readline().decode()
            assert self.answer.readline() == b"\n"
            yield kind.removeprefix("event: ").strip(), json.loads(content.removeprefix("data: "))

    def until(self, kind: str, **contents: Any) -> list[tuple[str, dict[str, Any]]]:
        """All messages up to the first of a kind with these contents."""
        read = []
        for message in self.messages():
            read.append(message)
            if message[0] == kind and contents.items() <= message[1].items():
                return read
        pytest.fail(f"the stream ended without {kind} {contents}: {read}")

    def __enter__(self) -> Page:
        return self

    def __exit__(self, *_: object) -> None:
        self.answer.close()
        self._connection.close()


def answer(daemon: Daemon, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """To one request, read to its end."""
    with closing(http.client.HTTPConnection(*place_of(daemon), timeout=PATIENCE_S)) as connection:
        connection.request(method, path, headers=headers)
        got = connection.getresponse()
        got.read()
        return got


def status_of(daemon: Daemon) -> dict[str, Any]:
    """How the device is, as its page is told."""
    with Page(daemon) as page:
        return page.until("status")[0][1]
