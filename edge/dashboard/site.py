"""The page's HTTP: static files, and one stream of server-sent events for each browser.

Does: answers GET to whoever calls this machine by its address or by a name of its own, and sends a reader what it has
not had yet, at the reader's pace. Does not: know what is shown (`edge.dashboard.board` does), or listen on a port.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edge import clock
from edge.dashboard.board import Board
from edge.guard import Guard

STATIC = Path(__file__).with_name("static")

LOOK_S = 0.25
"""How long a reader waits before it looks for something new."""
STATUS_S = 2.0
"""How often a reader is told how the device is, and what was counted."""

_HEADERS = {
    # The page of another version of this program would not understand what is sent.
    "Cache-Control": "no-store",
    # Everything comes from here, nothing from elsewhere, and no other page may frame it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Site:
    """An ASGI application; `app`."""

    def __init__(self, board: Board, status: Callable[[], dict[str, Any]], sources: Sequence[str], host: str) -> None:
        """Nothing is served before somebody runs `app`.

        Args:
            board: what was heard.
            status: how the device is, as JSON holds it.
            sources: names of what is heard.
            host: under which it is served.
        """
        self.is_ending = False
        """Set: every stream ends."""
        self._board, self._status, self._sources = board, status, tuple(sources)
        self._guard = Guard("dashboard_failed")
        self.app = Starlette(
            routes=[
                Route("/stream", self._stream),
                Mount("/", StaticFiles(directory=STATIC, html=True)),
            ],
            middleware=[Middleware(_Guarded, names=own_names(host))],
        )

    async def _stream(self, request: Request) -> Response:
        source = request.query_params.get("source", self._sources[0])
        if source not in self._sources:
            return PlainTextResponse(f"no source {source!r}, only {', '.join(self._sources)}\n", status_code=404)
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        headers = {"X-Accel-Buffering": "no"}
        return StreamingResponse(self._messages(source), media_type="text/event-stream", headers=headers)

    async def _messages(self, source: str) -> AsyncIterator[str]:
        number, due = 0, 0.0
        while not self.is_ending:
            if time.monotonic() >= due:
                due = time.monotonic() + STATUS_S
                if (status := self._guard.call("status", self._told)) is not None:
                    yield _sent("status", status)
            for message in self._board.since(number, source):
                number = message.number
                yield _sent(message.kind, message.content)
            await asyncio.sleep(LOOK_S)

    def _told(self) -> dict[str, Any]:
        return {**self._status(), "day": self._board.day(clock.read())}


def _sent(kind: str, content: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"


def own_names(host: str) -> frozenset[str]:
    """What this machine may be called, besides its addresses: by another name a stranger's page would ask."""
    name = socket.gethostname().lower()
    return frozenset({"localhost", name, f"{name}.local", host.lower()})


class _Guarded:
    """Refuses a request that was sent to a strange name, as a page of another site does that has its name point here
    (DNS rebinding), and tells browsers to keep this page to itself."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if not self._is_own(Headers(scope=scope).get("host", "")):
            text = "call this device by its address, localhost or its host name\n"
            await PlainTextResponse(text, status_code=421)(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_guarded)

    def _is_own(self, authority: str) -> bool:
        try:
            name = urlsplit(f"//{authority}").hostname or ""
        except ValueError:
            return False
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True
