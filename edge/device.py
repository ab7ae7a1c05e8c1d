"""All parts of a running device, each made once and told of those that it needs.

Does: opens what the settings ask for, registers each part with the hooks, the status and the publisher, starts them,
and ends them in order. Clips, updates and the page, which few devices run, are imported where they are opened, since
they take memory. Does not: listen, analyse, store or send by itself, or decide when to end (`edge.daemon` does).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from uuid6 import uuid7

from edge import __version__
from edge.backends.shared import SharedBackend
from edge.breathing import Breathing
from edge.command.handler import Commands
from edge.command.thresholds import Thresholds
from edge.config import Settings
from edge.corrections import Corrections
from edge.drift import Drift, load_reference
from edge.ending import Ending
from edge.homeassistant import HomeAssistant, discovery
from edge.hooks import Hooks
from edge.journal import Journal
from edge.listener import Listener
from edge.listeners import Listeners, Named, open_sources
from edge.metrics import start_metrics
from edge.minute import Minutes
from edge.mqtt import Publisher
from edge.notify import Notifier
from edge.outbox import Outbox
from edge.payloads import Origin, to_bytes
from edge.status import Status
from edge.untimed import UntimedFile
from edge.update.running import RunningBundle
from edge.upkeep import Upkeep

if TYPE_CHECKING:
    from edge.clips import Clips
    from edge.update.updater import Updater

log = structlog.get_logger()

DRAIN_S = 10.0
"""How long the end of a run waits for the broker to take what is in the outbox."""
SILENCE_S = 60.0
"""A source that says nothing for so long beyond its stall_s, neither sound nor trouble, is looked after by nobody."""
_UPDATER_STOP_S = 5.0
_CLIPS_STOP_S = 5.0


class Device:
    """Owns every part from here to `end`."""

    def __init__(self, settings: Settings, running: RunningBundle, sources: Sequence[Named] | None = None) -> None:
        """Open everything; nothing is heard or sent before `start`.

        Args:
            settings: everything.
            running: knows which bundle is to run.
            sources: what is heard in place of what the settings name.

        Raises:
            UserError: a part that cannot be opened.
        """
        self.running = running
        model = running.open()
        self.thresholds = Thresholds(settings.thresholds, model.bundle.manifest, _kept_thresholds(settings))
        self.settings = settings.model_copy(update={"thresholds": self.thresholds.current})
        sources = open_sources(self.settings) if sources is None else sources
        outbox = settings.outbox
        self.outbox = Outbox(settings.outbox_path, max_mb=outbox.max_mb, max_age_days=outbox.max_age_days)
        self.origin = Origin(str(uuid7()), __version__, model.name, "")
        self.status = Status(self.origin, lambda: self.outbox.depth, lambda: self.outbox.dropped)
        self.publisher = Publisher(settings.mqtt, settings.base_topic, self.outbox, self.status.payload)
        self.inference = SharedBackend(model.backend)
        self.model = replace(model, backend=self.inference)
        self.hooks = Hooks()
        self.corrections = Corrections(self.outbox, UntimedFile(settings.outbox_path.with_name("untimed.jsonl")))
        self.journal = Journal(
            self.origin,
            settings.base_topic,
            self.outbox,
            corrections=self.corrections,
            hooks=self.hooks,
            notify=self.publisher.notify,
        )
        self.listeners = Listeners(
            Listener(name, source, self.model, self.settings, pace=pace, keep=self.journal.keep, hooks=self.hooks)
            for name, pace, source in sources
        )
        self.ending = Ending(self.listeners)
        self.notifier = Notifier()
        self._tell_trouble()
        self.upkeep = self._keep_minutes()
        self.clips = self._keep_clips()
        self.updater = self._follow_updates(settings)
        self._end_metrics = start_metrics(
            settings.metrics,
            self.hooks,
            self.model,
            self.listeners,
            outbox=self.outbox,
            publisher=self.publisher,
            upkeep=self.upkeep,
        )
        self._end_dashboard = self._show()
        self._join_homeassistant()
        self._take_commands()

    def start(self) -> None:
        """Begin to listen, to send, and to look for updates."""
        self.publisher.start()
        self.listeners.start()
        if self.updater is not None:
            self.updater.start()

    def end(self, farewell: str) -> None:
        """Deliver what can be delivered, leave `offline` with `farewell` as reason, and close every part.

        A defect in one of them is told in the log, and keeps none of the others from their end.
        """
        if not self.ending.is_restart:  # systemd kills what is stopping after a while, but this starts anew meanwhile
            _end("notifier", self.notifier.stopping)
        if (updater := self.updater) is not None:
            _end("updater", lambda: updater.stop(_UPDATER_STOP_S))
        _end("listeners", self.listeners.stop)
        if (clips := self.clips) is not None:
            _end("clips", lambda: clips.close(_CLIPS_STOP_S))
        _end("metrics", self._end_metrics)
        _end("dashboard", self._end_dashboard)
        _end("publisher", lambda: self.publisher.stop(DRAIN_S, farewell))
        _end("outbox", self.outbox.close)

    def _tell_trouble(self) -> None:
        status, listeners = self.status, self.listeners
        status.add_part("outbox", lambda: self.outbox.trouble)
        status.add_part("broker", lambda: self.publisher.refusals.trouble)
        status.add_part("inference", lambda: self.inference.trouble)
        status.add_part("", lambda: listeners.trouble)
        status.add_part("", lambda: self.model.trouble())
        status.add_part(
            "defect",
            lambda: "; ".join(filter(None, (self.hooks.trouble, self.upkeep.trouble, self.publisher.trouble))),
        )
        status.set_times(
            last_audio_at=lambda: listeners.last_audio_at, last_inference_at=lambda: listeners.last_inference_at
        )
        status.add_detail("lag_s", lambda: round(listeners.lag_s, 1))

    def _keep_minutes(self) -> Upkeep:
        """The minute's report, with what others add to it, and what else is due every second."""
        settings, hooks = self.settings, self.hooks
        minutes = Minutes(self.origin, settings.base_topic, self.outbox, corrections=self.corrections, hooks=hooks)
        if settings.respiration.enabled is not False:
            topic = f"{settings.base_topic}/respiration"
            breathing = Breathing(hooks, airborne=settings.respiration.enabled is True)
            hooks.on_respiration.append(
                lambda listener, payload: self.publisher.send_live(topic, to_bytes(payload), listener.name)
            )
            minutes.respiration = lambda name: asdict(breathing.take(name))
        if (reference := load_reference(self.model.bundle)) is not None:
            drift = Drift(reference, hooks)
            minutes.drift = drift.minute
            self.status.add_part("drift", lambda: drift.trouble)
        for listener in self.listeners:
            minutes.watch(listener)
        silence_s = SILENCE_S + max(source.stall_s for source in settings.sources or (settings.source,))
        return Upkeep(
            minutes=minutes,
            corrections=self.corrections,
            notifier=self.notifier,
            stuck=lambda: self.inference.trouble or self.listeners.stuck(silence_s),
            notify=self.publisher.notify,
        )

    def _keep_clips(self) -> Clips | None:
        settings = self.settings
        if not settings.clips.enabled:
            return None
        from edge.clip_store import ClipStore
        from edge.clips import Clips

        store = ClipStore(settings.clips_folder, settings.clips)
        clips = Clips(settings.clips, self.model.bundle.manifest, self.hooks, store)
        self.status.add_part("clips", lambda: store.trouble)
        self.status.add_detail("clips", clips.summary)
        return clips

    def _follow_updates(self, settings: Settings) -> Updater | None:
        """settings: as configured, without thresholds that a command set, of which a new bundle may lack the label."""
        self.hooks.on_scores.append(lambda _listener, chunk: self.running.progress(chunk.scores))
        self.running.on_left = self.ending.restart
        self.status.add_detail("update", self.running.status)
        if not settings.update.enabled:
            return None
        from edge.update.updater import Updater

        updater = Updater(settings, self.hooks, self.ending.restart)
        self.status.add_part("update", lambda: updater.trouble)
        return updater

    def _show(self) -> Callable[[], None]:
        if not self.settings.dashboard.enabled:
            return lambda: None
        from edge.dashboard.server import start_dashboard

        return start_dashboard(
            self.settings,
            self.hooks,
            self.model,
            self.listeners,
            status=self.status,
            publisher=self.publisher,
            thresholds=self.thresholds,
        )

    def _join_homeassistant(self) -> None:
        settings = self.settings
        if not settings.homeassistant.enabled:
            return
        sensors = discovery(
            settings.base_topic, self.origin, self.model.bundle.manifest, respiration=settings.respiration.enabled
        )
        homeassistant = HomeAssistant(settings.homeassistant.prefix, settings.base_topic, self.origin, sensors)
        self.hooks.on_event.append(homeassistant.on_event)
        self.publisher.add(homeassistant)

    def _take_commands(self) -> None:
        for listener in self.listeners:
            self.thresholds.listeners.append(listener.analyzer.change_thresholds)
        self.status.add_detail("thresholds", self.thresholds.differences)
        if not self.settings.commands.enabled:
            return
        commands = Commands(
            self.settings.base_topic,
            self.thresholds,
            restart=lambda: self.ending.restart("a command"),
            update=self.updater,
            notify=self.publisher.notify,
        )
        self.publisher.add(commands)


def _end(part: str, end: Callable[[], None]) -> None:
    try:
        end()
    except Exception:
        log.exception("end_failed", part=part, action="report this; the other parts end in order")


def _kept_thresholds(settings: Settings) -> Path | None:
    """Where a command keeps thresholds: beside the outbox."""
    return settings.outbox_path.with_name("thresholds.json") if settings.commands.enabled else None
