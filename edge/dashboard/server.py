"""Serves the page while the daemon listens, in a thread of its own.

Does: opens the port, runs the web server, and ends it. A port that is taken, or a defect here, costs the page alone.
Does not: know what is served (`edge.dashboard.site` does).
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from edge import clock
from edge.dashboard.board import Board
from edge.dashboard.site import Site
from edge.errors import first_line

if TYPE_CHECKING:
    from edge.command.thresholds import Thresholds
    from edge.config import Settings
    from edge.hooks import Hooks
    from edge.listener import Listener
    from edge.mqtt import Publisher
    from edge.pipeline import Model
    from edge.sections import DashboardSettings
    from edge.status import Status

log = structlog.get_logger()

MOST_CONNECTIONS = 16
"""Of browsers; a further one is answered 503."""
MOST_OPEN = 2 * MOST_CONNECTIONS
"""A further one is closed unanswered."""
ASK_S = 10.0
"""One that has not asked for anything by then is closed."""
_TAKE_S = 60.0
"""One that takes nothing of what it is sent, or does not acknowledge it, is closed by the kernel after so long."""
_LEAVE_S = 0.5
"""At the end, how long one that is being answered may take for the rest."""
_END_S = 3.0


def start_dashboard(
    settings: Settings,
    hooks: Hooks,
    model: Model,
    listeners: Iterable[Listener],
    *,
    status: Status,
    publisher: Publisher,
    thresholds: Thresholds,
) -> Callable[[], None]:
    """Follow what is heard and serve it, before the listeners start; returns what ends it."""
    listeners = tuple(listeners)
    own = {label.name: label.operating_point.on for label in model.bundle.manifest.labels}

    def shown() -> dict[str, Any]:
        now = clock.read()
        return {
            "site": settings.device.site,
            "device": settings.device_name,
            "now": clock.rfc3339(now.utc),
            "clock": "synced" if now.synchronised else "unsynced",
            "status": status.payload(),
            "is_connected": publisher.is_connected,
            "sources": [{"name": listener.name, "trouble": listener.trouble} for listener in listeners],
            "labels": {name: thresholds.current.get(name, on) for name, on in own.items()},
        }

    return serve(settings.dashboard, Board(hooks), shown, [listener.name for listener in listeners])


def serve(
    settings: DashboardSettings, board: Board, status: Callable[[], dict[str, Any]], sources: list[str]
) -> Callable[[], None]:
    """Answer browsers from now on; returns what ends it.

    An address that cannot be used is told in the log, and all else goes on.

    Args:
        settings: where.
        board: what was heard.
        status: how the device is, as JSON holds it.
        sources: names of what is heard.
    """
    try:
        listening = _listen(settings.host, settings.port)
    except (OSError, UnicodeError) as error:  # the latter for what can be no host name
        action = "set dashboard.host and dashboard.port to a free address"
        reason = getattr(error, "strerror", None) or first_line(error)
        log.warning("no_dashboard", host=settings.host, port=settings.port, reason=reason, action=action)
        return lambda: None
    site = Site(board, status, sources, settings.host)
    server = uvicorn.Server(
        uvicorn.Config(
            site.app,
            access_log=False,
            backlog=MOST_CONNECTIONS,
            headers=[("Connection", "close")],  # one that is kept for a next request would take another browser's place
            http=_Connection,
            lifespan="off",
            limit_concurrency=MOST_CONNECTIONS,
            log_config=None,
            loop="asyncio",
            server_header=False,
            timeout_graceful_shutdown=1,
            ws="none",
        )
    )

    def run() -> None:
        try:
            server.run(sockets=[listening])
        except Exception:
            log.exception("dashboard_failed", action="report this; listening goes on")

    thread = threading.Thread(target=run, name="dashboard", daemon=True)
    thread.start()
    log.info("dashboard", address=_address(settings.host, listening))

    def end() -> None:
        site.is_ending = server.should_exit = True
        thread.join(_END_S)

    return end


class _Connection(H11Protocol):
    """That of a browser: each is one of the files that the daemon may have open, which hearing needs as well."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience = self.loop.call_later(ASK_S, self._close_unless_asked)
        if len(self.connections) > MOST_OPEN:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._patience.cancel()

    def _close_unless_asked(self) -> None:
        if self.cycle is None:
            self.transport.abort()  # type: ignore[unreachable] # uvicorn annotates it as if it were always there

    def shutdown(self) -> None:
        super().shutdown()
        self.loop.call_later(_LEAVE_S, self.transport.abort)


def _listen(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.create_server(address, family=family)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(_TAKE_S * 1000))  # its connections', too
    return listening


def _address(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"
