"""The daemon: wires sources, analysis, outbox and publisher together, and ends them in order.

Does: opens each part, tells the parts of each other, and leaves cleanly when the sources end or a signal asks for it.
Does not: analyse, store or send by itself.
"""

from __future__ import annotations

import signal
import threading
import time
from dataclasses import replace
from types import FrameType

import structlog
from uuid6 import uuid7

from edge import __version__, logs
from edge.backends.shared import SharedBackend
from edge.breathing import Breathing
from edge.config import Settings
from edge.errors import UserError
from edge.hooks import Hooks
from edge.journal import Journal
from edge.listener import Listener
from edge.listeners import Listeners, open_sources
from edge.mqtt import Publisher
from edge.notify import Notifier
from edge.outbox import Outbox
from edge.payloads import Origin
from edge.pipeline import open_model
from edge.status import Status

log = structlog.get_logger()

DRAIN_S = 10.0
"""How long the end of a run waits for the broker to take what is in the outbox."""

SILENCE_S = 60.0
"""A source that says nothing for so long, neither sound nor trouble, is not looked after by anybody."""
_STOP_S = 15.0
"""How long the end of a run waits for what has been heard to be analysed."""
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
    model = open_model(settings.bundle)
    model.widest(settings)
    sources = open_sources(settings)
    outbox = Outbox(settings.outbox_path, max_mb=settings.outbox.max_mb, max_age_days=settings.outbox.max_age_days)
    origin = Origin(str(uuid7()), __version__, model.name, "")
    status = Status(origin, lambda: outbox.depth)
    publisher = Publisher(settings.mqtt, settings.base_topic, outbox, status.payload)
    inference = SharedBackend(model.backend)
    model = replace(model, backend=inference)
    hooks = Hooks()
    journal = Journal(origin, settings.base_topic, outbox, hooks, publisher.notify)
    if settings.respiration.enabled:
        topic = f"{settings.base_topic}/respiration"
        Breathing(hooks, lambda payload, name: publisher.send_live(topic, payload, name))
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
    notifier = Notifier()
    turn_s = min(_TURN_S, notifier.interval_s or _TURN_S)
    _stop_on_signal(listeners)
    publisher.start()
    listeners.start()
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
            notifier.turn(inference.trouble or listeners.stuck(SILENCE_S))
            if listeners.stopping_s > _STOP_S:
                log.error("listeners_do_not_end", action="the sound of the last seconds is lost")
                break
        listeners.raise_error()
        farewell = "stopped"
    except UserError as error:
        farewell = str(error)
        raise
    finally:
        notifier.stopping()
        listeners.stop()
        publisher.stop(DRAIN_S, farewell)
        outbox.close()
        log.info("stopped", reason=farewell, events=journal.events, waiting=outbox.depth, dropped=outbox.dropped)
    return 0


def _stop_on_signal(listeners: Listeners) -> None:
    """Let the first SIGTERM or SIGINT end the sources, and with them the run, in order; a second one kills."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # Closing may wait for a lock; the handler must not, whatever it has interrupted.
        threading.Thread(target=listeners.stop, name="stop", daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
