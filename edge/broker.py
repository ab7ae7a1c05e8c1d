"""A small MQTT broker on the loopback, in a thread of the process that wants one.

It is amqtt, and for demonstrations and measurements only: a device reports to a broker that somebody keeps.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import threading
from collections.abc import Iterator

from edge.errors import UserError

HOST = "127.0.0.1"
PATIENCE_S = 10.0
"""How long it may take to start or to stop."""


@contextlib.contextmanager
def broker() -> Iterator[int]:
    """Run an MQTT broker in a thread, open to this machine alone and without a password; gives its port.

    Raises:
        UserError: amqtt is not installed, or no broker came up.
    """
    try:
        from amqtt.broker import Broker
    except ModuleNotFoundError:
        raise UserError("this needs the broker amqtt: pip install 'acula-edge[demo]'") from None
    logging.getLogger("amqtt").setLevel(logging.CRITICAL)
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), concurrent.futures.Future[None]()

    async def serve() -> None:
        listener = {"type": "tcp", "bind": f"{HOST}:{port}"}
        plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
        try:
            server = Broker({"listeners": {"default": listener}, "plugins": plugins})
            await server.start()
        except Exception as error:
            started.set_exception(error)
            return
        started.set_result(None)
        await stop.wait()
        await server.shutdown()
        # A client that was cut off in the middle of its greeting leaves a task behind.
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    try:
        started.result(PATIENCE_S)
    except Exception as error:
        raise UserError(f"no broker came up on {HOST}:{port} ({error}); run it again") from error
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(PATIENCE_S)
        loop.close()
