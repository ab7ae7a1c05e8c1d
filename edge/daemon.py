"""The daemon: wires sources, analysis, outbox and publisher together, and ends them in order.

Does: opens each part, tells the parts of each other, and leaves cleanly when the sources end or a signal asks for it.
Does not: analyse, store or send by itself.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path

import structlog
from uuid6 import uuid7

from edge import __version__, logs
from edge.backends.shared import SharedBackend
from edge.breathing import Breathing
from edge.clip_store import ClipStore
from edge.clips import Clips
from edge.command.handler import Commands
from edge.command.thresholds import Thresholds
from edge.config import Settings
from edge.corrections import Corrections
from edge.drift import Drift, load_reference
from edge.ending import Ending
from edge.errors import UserError
from edge.homeassistant import HomeAssistant, discovery
from edge.hooks import Hooks
from edge.journal import Journal
from edge.listener import Listener
from edge.listeners import Listeners, open_sources
from edge.metrics import start_metrics
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
"""A source that says nothing for so long beyond its stall_s, neither sound nor trouble, is looked after by nobody."""
_STOP_S = 15.0
"""How long the end of a run waits for what has been heard to be analysed."""
_UPDATER_STOP_S = 5.0
_CLIPS_STOP_S = 5.0
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
    thresholds = Thresholds(settings.thresholds, model.bundle.manifest, _kept_thresholds(settings))
    settings = settings.model_copy(update={"thresholds": thresholds.current})
    sources = open_sources(settings)
    outbox = Outbox(settings.outbox_path, max_mb=settings.outbox.max_mb, max_age_days=settings.outbox.max_age_days)
    origin = Origin(str(uuid7()), __version__, model.name, "")
    status = Status(origin, lambda: outbox.depth, lambda: outbox.dropped)
    publisher = Publisher(settings.mqtt, settings.base_topic, outbox, status.payload)
    inference = SharedBackend(model.backend)
    model = replace(model, backend=inference)
    hooks = Hooks()
    corrections = Corrections(outbox)
    journal = Journal(
        origin, settings.base_topic, outbox, corrections=corrections, hooks=hooks, notify=publisher.notify
    )
    minutes = Minutes(origin, settings.base_topic, outbox, corrections=corrections, hooks=hooks)
    if settings.respiration.enabled is not False:
        topic = f"{settings.base_topic}/respiration"
        airborne = settings.respiration.enabled is True
        breathing = Breathing(hooks, lambda payload, name: publisher.send_live(topic, payload, name), airborne=airborne)
        minutes.respiration = lambda name: asdict(breathing.take(name))
    if (reference := load_reference(model.bundle)) is not None:
        drift = Drift(reference, hooks)
        minutes.drift = drift.minute
        status.add_part("drift", lambda: drift.trouble)
    listeners = Listeners(
        Listener(name, source, model, settings, pace=pace, keep=journal.keep, hooks=hooks)
        for name, pace, source in sources
    )
    clips = None
    if settings.clips.enabled:
        store = ClipStore(settings.clips_folder, settings.clips)
        clips = Clips(settings.clips, model.bundle.manifest, hooks, store)
        status.add_part("clips", lambda: store.trouble)
        status.add_detail("clips", clips.summary)
    status.add_part("outbox", lambda: outbox.trouble)
    status.add_part("inference", lambda: inference.trouble)
    status.add_part("", lambda: listeners.trouble)
    status.add_detail("lag_s", lambda: round(listeners.lag_s, 1))
    status.set_times(
        last_audio_at=lambda: listeners.last_audio_at, last_inference_at=lambda: listeners.last_inference_at
    )
    status.add_part("", lambda: model.trouble())
    hooks.on_scores.append(lambda _listener, chunk: running.progress(chunk.scores))
    status.add_detail("update", running.status)
    ending = Ending(listeners)
    running.on_left = ending.restart
    updater = Updater(settings, ending.restart) if settings.update.enabled else None
    end_metrics = start_metrics(settings.metrics, hooks, model, listeners, outbox=outbox, publisher=publisher)
    for listener in listeners:
        minutes.watch(listener)
        thresholds.listeners.append(listener.analyzer.change_thresholds)
    status.add_detail("thresholds", thresholds.differences)
    if settings.homeassistant.enabled:
        sensors = discovery(
            settings.base_topic, origin, model.bundle.manifest, respiration=settings.respiration.enabled
        )
        homeassistant = HomeAssistant(settings.homeassistant.prefix, settings.base_topic, origin, sensors)
        hooks.on_event.append(homeassistant.on_event)
        publisher.add(homeassistant)
    if settings.commands.enabled:
        publisher.add(
            Commands(
                settings.base_topic,
                thresholds,
                restart=lambda: ending.restart("a command"),
                update=updater,
                notify=publisher.notify,
            )
        )
    silence_s = SILENCE_S + max(source.stall_s for source in settings.sources or (settings.source,))
    notifier = Notifier()
    upkeep = Upkeep(
        minutes=minutes,
        corrections=corrections,
        notifier=notifier,
        stuck=lambda: inference.trouble or listeners.stuck(silence_s),
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
        if clips is not None:
            clips.close(_CLIPS_STOP_S)
        end_metrics()
        publisher.stop(DRAIN_S, farewell)
        outbox.close()
        log.info("stopped", reason=farewell, events=journal.events, waiting=outbox.depth, dropped=outbox.dropped)
        if farewell != "failed":
            running.end()
    ending.restart_if_due()
    return 0


def _kept_thresholds(settings: Settings) -> Path | None:
    """Where a command keeps thresholds: beside the outbox."""
    return settings.outbox_path.with_name("thresholds.json") if settings.commands.enabled else None
