"""The daemon: a run of the device from its start to its end.

Does: starts the device, has done what is due every second, and ends it in order when the sources end or a signal asks
for it. Does not: wire the parts to one another (`edge.device` does).
"""

from __future__ import annotations

import ctypes
import signal
import time
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import structlog

from edge import logs
from edge.config import Settings
from edge.device import Device
from edge.errors import BundleError, UserError
from edge.listeners import Named
from edge.update.running import RunningBundle

log = structlog.get_logger()

_STOP_S = 15.0
"""How long the end of a run waits for what has been heard to be analysed."""
_TURN_S = 1.0


def run(settings: Settings, started: float, sources: Sequence[Named] | None = None) -> int:
    """Listen until the sources end or SIGTERM or SIGINT comes, and return the exit status.

    Args:
        settings: everything.
        started: `time.monotonic()` at the start of the program, for the time to ready.
        sources: what is heard in place of what the settings name.

    Raises:
        UserError: a part that cannot be opened, or a source that turned unusable, unless the program starts anew; what
            had been heard is kept.
    """
    logs.configure(settings.log)
    device = _open(settings, sources)
    device.ending.on_signal()
    farewell, hangs = "failed", False
    try:
        device.start()
        _return_free_memory()
        _tell_ready(device, started)
        device.notifier.ready()
        has_ended = _listen(device)
        hangs = not has_ended and bool(device.inference.trouble)
        if device.listeners.defect is not None or not device.ending.is_restart:  # which gives unusable sources a try
            device.listeners.raise_error()
        farewell = "stopped" if has_ended else "did not end in time"
    except UserError as error:
        farewell = str(error)
        raise
    finally:
        device.end(farewell)
        log.info(
            "stopped",
            reason=farewell,
            events=device.journal.events,
            waiting=device.outbox.depth,
            dropped=device.outbox.dropped,
        )
        if farewell != "failed" and not hangs:  # a bundle that hangs is no better than one that fails
            device.running.end()
    if device.ending.is_restart:
        device.notifier.alive()  # systemd's watchdog goes on, and the next sign comes when the new start is ready
    device.ending.restart_if_due()
    return 0


def _open(settings: Settings, sources: Sequence[Named] | None) -> Device:
    running = RunningBundle(settings)
    signal.signal(signal.SIGTERM, _leave)
    try:
        return Device(settings, running, sources)
    except BundleError:
        raise
    except (UserError, KeyboardInterrupt, SystemExit):
        running.end()  # in order: a new bundle is not to blame for a source, a disk, a setting or a signal
        raise


def _return_free_memory() -> None:
    """Give the system back what the start no longer needs; glibc alone can, and what it keeps it keeps to the end.

    Reading the bundle and proving it leave 2 MB free in small pieces.
    """
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Until there are listeners that can be stopped."""
    raise SystemExit(0)


def _tell_ready(device: Device, started: float) -> None:
    log.info(
        "ready",
        after_s=round(time.monotonic() - started, 2),
        source=", ".join(listener.name for listener in device.listeners),
        bundle=device.model.name,
        backend=device.model.backend.name,
        topic=device.settings.base_topic,
        outbox=str(device.settings.outbox_path),
        waiting=device.outbox.depth,
    )


def _listen(device: Device) -> bool:
    """Until all listeners are done, or are not done in time once told to stop; a defect in one stops the others.

    Returns whether they are done.
    """
    turn_s = min(_TURN_S, device.notifier.interval_s or _TURN_S)
    while not device.listeners.wait(turn_s):
        device.upkeep.turn()
        if device.listeners.defect is not None:
            device.listeners.stop()
        if device.listeners.stopping_s > _STOP_S:
            log.error("listeners_do_not_end", action="the sound of the last seconds is lost")
            device.upkeep.turn()
            return False
    device.upkeep.turn()
    return True
