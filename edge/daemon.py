"""The daemon: wires source, analysis, outbox and publisher together, and ends them in order.

Does: opens each part, passes events from one to the next, and leaves cleanly when the source ends or a signal asks for
it. Does not: analyse, store or send by itself.
"""

from __future__ import annotations

import signal
import threading
import time
from datetime import datetime, timedelta
from types import FrameType
from typing import Any

import structlog
from uuid6 import uuid7

from edge import __version__, clock, logs
from edge.clock import Anchor
from edge.config import Settings
from edge.errors import UserError
from edge.events import Event
from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.payloads import Origin, event_payload, status_payload, to_bytes
from edge.pipeline import detect, open_model
from edge.sources import open_source
from edge.sources.base import Block, Source
from edge.track import TrackChunk

log = structlog.get_logger()

DRAIN_S = 10.0
"""How long the end of a run waits for the broker to take what is in the outbox."""


def run(settings: Settings, started: float) -> int:
    """Listen until the source ends or SIGTERM or SIGINT comes, and return the exit status.

    Args:
        settings: everything.
        started: `time.monotonic()` at the start of the program, for the time to ready.

    Raises:
        UserError: a part that cannot be opened, or a source that turned unusable; what had been heard is kept.
    """
    logs.configure(settings.log)
    model = open_model(settings.bundle)
    source = open_source(settings.source)
    analyzer = model.analyzer(source, settings)
    outbox = Outbox(settings.outbox_path, max_mb=settings.outbox.max_mb, max_age_days=settings.outbox.max_age_days)
    origin = Origin(str(uuid7()), __version__, model.name, source.name)
    journal = _Journal(settings, origin, source, outbox, analyzer.sample_rate_hz)
    analyzer.on_scores = journal.on_scores
    publisher = Publisher(settings.mqtt, settings.base_topic, outbox, journal.status)
    _close_on_signal(source)
    publisher.start()
    log.info(
        "ready",
        after_s=round(time.monotonic() - started, 2),
        source=source.name,
        bundle=model.name,
        backend=model.backend.name,
        topic=settings.base_topic,
        outbox=str(settings.outbox_path),
        waiting=outbox.depth,
    )
    farewell = "failed"
    try:
        for event in detect(source, analyzer, journal.on_block):
            journal.keep(event)
            publisher.notify()
        farewell = "stopped"
    except UserError as error:
        farewell = str(error)
        raise
    finally:
        source.close()
        publisher.stop(DRAIN_S, farewell)
        outbox.close()
        log.info("stopped", reason=farewell, events=journal.events, waiting=outbox.depth, dropped=outbox.dropped)
    return 0


class _Journal:
    """What this run has heard: gives each event its time and identity, stores it, and knows how the device is."""

    def __init__(self, settings: Settings, origin: Origin, source: Source, outbox: Outbox, rate_hz: int) -> None:
        self.events = 0
        self._origin = origin
        self._source = source
        self._outbox = outbox
        self._topic = f"{settings.base_topic}/event"
        self._is_live = settings.source.kind != "file" or settings.source.pace == "realtime"
        self._rate_hz = rate_hz
        self._anchor = self._anchor_at(clock.utc_now())
        self._last_audio_at: datetime | None = None
        self._last_inference_at: datetime | None = None

    def on_block(self, block: Block) -> None:
        now = clock.utc_now()
        if block.position == 0 and self._is_live:
            # A live block has been recorded by the time it arrives.
            recorded_s = len(block.samples) / self._source.sample_rate_hz
            self._anchor = self._anchor_at(now - timedelta(seconds=recorded_s))
        self._last_audio_at = now

    def on_scores(self, _chunk: TrackChunk) -> None:
        self._last_inference_at = clock.utc_now()

    def keep(self, event: Event) -> None:
        event_id = str(uuid7())
        payload = event_payload(self._origin, event, self._anchor, event_id=event_id, seq=self.events)
        self._outbox.put(event_id, self._topic, to_bytes(payload))
        self.events += 1
        log.info("event", label=event.label, onset=payload["onset"], score=payload["score"], event_id=event_id)

    def status(self) -> dict[str, Any]:
        trouble = self._outbox.trouble
        return status_payload(
            self._origin,
            state="degraded" if trouble else "online",
            reason=f"outbox: {trouble}" if trouble else "",
            last_audio_at=self._last_audio_at,
            last_inference_at=self._last_inference_at,
            outbox_depth=self._outbox.depth,
        )

    def _anchor_at(self, start: datetime) -> Anchor:
        """The start as this moment's clock has it; a clock that is set later does not make it right."""
        return Anchor(start, 0, self._rate_hz, clock.is_synchronised())


def _close_on_signal(source: Source) -> None:
    """Let the first SIGTERM or SIGINT end the source, and with it the run, in order; a second one kills."""

    def close(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        # The handler may have interrupted the source itself while it holds a lock that closing needs.
        threading.Thread(target=source.close, name="close", daemon=True).start()

    signal.signal(signal.SIGTERM, close)
    signal.signal(signal.SIGINT, close)
