"""The daemon: wires sources, analysis, outbox and publisher together, and ends them in order.

Does: opens each part, tells the parts of each other, and leaves cleanly when the sources end or a signal asks for it.
Does not: analyse, store or send by itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import asdict, replace
from types import FrameType

import structlog
from uuid6 import uuid7

from edge import __version__, logs
from edge.backends.shared import SharedBackend
from edge.breathing import Breathing
from edge.config import Settings
from edge.corrections import Corrections
from edge.errors import UserError
from edge.hooks import Hooks
from edge.journal import Journal
from edge.listener import Listener
from edge.listeners import Listeners, open_sources
from edge.minute import Minutes
from edge.mqtt import Publisher
from edge.notify import Notifier
from edge.outbox import Outbox
from edge.payloads import Origin
from edge.status import Status
from edge.update.running import RunningBundle
from edge.update.updater import Updater
from edge.upkeep import Upkeep

log = structlog.get_logger()

DRAIN_S = 10.0
"""How long the end of a run waits for the broker to take what is in the outbox."""

SILENCE_S = 60.0
"""A source that says nothing for so long, neither sound nor trouble, is not looked after by anybody."""
_STOP_S = 15.0
"""How long the end of a run waits for what has been heard to be analysed."""
_UPDATER_STOP_S = 5.0
_TURN_S = 1.0


def run(settings: Settings, started: float) -> int:
    """Listen until the sources end or SIGTERM or SIGINT comes, and return the exit status.

    Args:
        settings: everything.
        started: `time.monotonic()` at the start of the program, for the time to ready.

    Raises:
        UserError: a part that cannot be opened, or a source that turned unusable; what had been heard is kept.
    """
    logs.configure(settings.log)
    running = RunningBundle(settings)
    model = running.open()
    sources = open_sources(settings)
    outbox = Outbox(settings.outbox_path, max_mb=settings.outbox.max_mb, max_age_days=settings.outbox.max_age_days)
    origin = Origin(str(uuid7()), __version__, model.name, "")
    status = Status(origin, lambda: outbox.depth)
    publisher = Publisher(settings.mqtt, settings.base_topic, outbox, status.payload)
    inference = SharedBackend(model.backend)
    model = replace(model, backend=inference)
    hooks = Hooks()
    corrections = Corrections(outbox)
    journal = Journal(
        origin, settings.base_topic, outbox, corrections=corrections, hooks=hooks, notify=publisher.notify
    )
    minutes = Minutes(origin, settings.base_topic, outbox, corrections=corrections, hooks=hooks)
    if settings.respiration.enabled:
        topic = f"{settings.base_topic}/respiration"
        breathing = Breathing(hooks, lambda payload, name: publisher.send_live(topic, payload, name))
        minutes.respiration = lambda name: asdict(breathing.take(name))
    listeners = Listeners(
        Listener(name, source, model, settings, pace=pace, keep=journal.keep, hooks=hooks)
        for name, pace, source in sources
    )
    status.add_part("outbox", lambda: outbox.trouble)
    status.add_part("inference", lambda: inference.trouble)
    status.add_part("", lambda: listeners.trouble)
    status.set_times(
        last_audio_at=lambda: listeners.last_audio_at, last_inference_at=lambda: listeners.last_inference_at
    )
    hooks.on_scores.append(lambda _listener, chunk: running.progress(chunk.scores))
    status.add_detail("update", running.status)
    ending = _Ending(listeners)
    running.on_left = ending.restart
    updater = Updater(settings, ending.restart) if settings.update.enabled else None
    for listener in listeners:
        minutes.watch(listener)
    notifier = Notifier()
    upkeep = Upkeep(
        minutes=minutes,
        corrections=corrections,
        notifier=notifier,
        stuck=lambda: inference.trouble or listeners.stuck(SILENCE_S),
        notify=publisher.notify,
    )
    turn_s = min(_TURN_S, notifier.interval_s or _TURN_S)
    ending.on_signal()
    publisher.start()
    listeners.start()
    if updater is not None:
        updater.start()
    log.info(
        "ready",
        after_s=round(time.monotonic() - started, 2),
        source=", ".join(listener.name for listener in listeners),
        bundle=model.name,
        backend=model.backend.name,
        topic=settings.base_topic,
        outbox=str(settings.outbox_path),
        waiting=outbox.depth,
    )
    farewell = "failed"
    try:
        notifier.ready()
        while not listeners.wait(turn_s):
            upkeep.turn()
            if listeners.stopping_s > _STOP_S:
                log.error("listeners_do_not_end", action="the sound of the last seconds is lost")
                break
        upkeep.turn()
        listeners.raise_error()
        farewell = "stopped"
    except UserError as error:
        farewell = str(error)
        raise
    finally:
        if not ending.is_restart:  # a service that is stopping is killed after a while, though it starts anew meanwhile
            notifier.stopping()
        if updater is not None:
            updater.stop(_UPDATER_STOP_S)
        listeners.stop()
        publisher.stop(DRAIN_S, farewell)
        outbox.close()
        log.info("stopped", reason=farewell, events=journal.events, waiting=outbox.depth, dropped=outbox.dropped)
        if farewell != "failed":
            running.end()
    ending.restart_if_due()
    return 0


class _Ending:
    """How a run comes to its end, in order: by SIGTERM or SIGINT, or because another bundle is to run."""

    def __init__(self, listeners: Listeners) -> None:
        """Nothing ends before a signal or `restart`."""
        self._listeners = listeners
        self._restart = threading.Event()
        self._signalled = threading.Event()

    def on_signal(self) -> None:
        """Let the first SIGTERM or SIGINT end the sources, and with them the run; a second one kills."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    def restart(self) -> None:
        """End the sources; once the run is over, `restart_if_due` starts the program anew. Any thread."""
        self._restart.set()
        self._listeners.stop()

    @property
    def is_restart(self) -> bool:
        """Whether the program is to start anew; a signal wins."""
        return self._restart.is_set() and not self._signalled.is_set()

    def restart_if_due(self) -> None:
        """Start the program anew, in this process and with the same command line, where that is how the run ended."""
        if self.is_restart:
            log.info("restarting", reason="another bundle is to run")
            os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the program itself

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Closing may wait for a lock; the handler must not, whatever it has interrupted.
        threading.Thread(target=self._stop, name="stop", daemon=True).start()

    def _stop(self) -> None:
        self._signalled.set()
        self._listeners.stop()
