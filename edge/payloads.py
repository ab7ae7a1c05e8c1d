"""What the messages say: the JSON objects of the event, minute and status topics.

An event or minute whose times came from a clock that nobody had set says `clock` unsynced. Once the clock is set, the
same message is published again: the same `event_id` (or `minute_id`) with `revision` 1, true times, `clock` synced and
`historical` true. A message without `revision` is revision 0; a reader keeps the highest that it has seen of an id.

Does: builds them and turns them into bytes. Does not: send, store or time anything.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from edge.clock import Anchor, rfc3339
from edge.events import Event
from edge.level import Level
from edge.respiration import Respiration

EVENT_SCHEMA = 1
"""Grows when a field of the event payload is removed or changes its meaning; a new field does not make it grow."""

_SCORE_DIGITS = 4


@dataclass(frozen=True)
class Origin:
    """Where messages come from; the same in all messages of one run."""

    boot_id: str
    """UUID of this run of the program."""
    version: str
    """Version of this program."""
    bundle: str
    """Name and version of the bundle, as ``room-1.0.0``."""
    source: str
    """What is being heard, as ``file:ward.wav``."""


def event_payload(origin: Origin, event: Event, anchor: Anchor, *, event_id: str, seq: int) -> dict[str, Any]:
    """One detected event.

    Args:
        origin: this run.
        event: what was found, in sample indices.
        anchor: makes UTC of them, and says whether a time source stands behind it.
        event_id: UUIDv7; the same in every copy, so that a consumer drops repeats.
        seq: counts the events of this run from 0; a hole is a lost event.
    """
    return {
        "schema": EVENT_SCHEMA,
        "event_id": event_id,
        "boot_id": origin.boot_id,
        "seq": seq,
        "label": event.label,
        "onset": rfc3339(anchor.at(event.onset)),
        "offset": rfc3339(anchor.at(event.offset)),
        "duration_s": round((event.offset - event.onset) / anchor.sample_rate_hz, 3),
        "score": round(event.score, _SCORE_DIGITS),
        "source": origin.source,
        "bundle": origin.bundle,
        "clock": "synced" if anchor.synchronised else "unsynced",
        "historical": False,
    }


def as_historical(payload: bytes) -> bytes:
    """An event payload with `historical` set: it reaches the broker late and must not set off an alarm now.

    What is no JSON object, as after damage to the disk, stays as it is: it must not hold up what waits behind it.
    """
    try:
        return to_bytes({**json.loads(payload), "historical": True})
    except (ValueError, TypeError):
        return payload


@dataclass(frozen=True, kw_only=True)
class Minute:
    """What there is to say of one minute of one source."""

    start: datetime
    """UTC of its start, or of the first sound of a run."""
    duration_s: float
    """60, less for the first and last minute of a run."""
    synchronised: bool
    """Whether a time source stands behind `start`."""
    counts: Mapping[str, int]
    """Events whose onset lies in it, per label."""
    monitored_s: float
    """Seconds of it that were heard and analysed; the rest is missing."""
    level: Level
    """Of the sound that was heard."""
    lag_s: float
    """How far the analysis was behind the sound at worst."""
    card_drift_ppm: float | None
    """How much faster than nominal the sound card records; None before it is known."""
    respiration: Mapping[str, Any] | None
    """The clearest breathing rate; None where nobody looks for one."""
    drift: float | None
    """How far the sound is from what the model was trained on; None where nobody measures it."""


def minute_payload(origin: Origin, minute: Minute, *, minute_id: str) -> dict[str, Any]:
    """One minute of one source. Rates per hour are over the monitored time alone, null where nothing was monitored.

    minute_id: UUIDv7; the same in every copy, so that a consumer drops repeats.
    """
    monitored_s = min(minute.monitored_s, minute.duration_s)  # a card that is a little fast
    return {
        "schema": EVENT_SCHEMA,
        "minute_id": minute_id,
        "boot_id": origin.boot_id,
        "source": origin.source,
        "bundle": origin.bundle,
        "start": rfc3339(minute.start),
        "duration_s": round(minute.duration_s, 3),
        "counts": dict(minute.counts),
        "per_hour": {
            label: round(count * 3600 / monitored_s, 2) if monitored_s > 0 else None
            for label, count in minute.counts.items()
        },
        "monitored_s": round(monitored_s, 3),
        "gap_s": round(minute.duration_s - monitored_s, 3),
        "level_dbfs": _rounded(minute.level.level_dbfs, 1),
        "noise_floor_dbfs": _rounded(minute.level.noise_floor_dbfs, 1),
        "clipped": round(minute.level.clipped, 6),
        "lag_s": round(minute.lag_s, 2),
        "card_drift_ppm": _rounded(minute.card_drift_ppm, 1),
        "respiration": None if minute.respiration is None else dict(minute.respiration),
        "drift": minute.drift,
        "clock": "synced" if minute.synchronised else "unsynced",
        "historical": False,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def respiration_payload(respiration: Respiration, at: datetime, *, source: str, bundle: str) -> dict[str, Any]:
    """The breathing rate over the time before `at`; `rate_bpm` is null where it is unsure."""
    return {
        "at": rfc3339(at),
        "rate_bpm": respiration.rate_bpm,
        "quality": respiration.quality,
        "source": source,
        "bundle": bundle,
    }


def status_payload(
    origin: Origin,
    *,
    state: Literal["online", "degraded", "offline"],
    reason: str,
    last_audio_at: datetime | None,
    last_inference_at: datetime | None,
    outbox_depth: int | None,
    outbox_dropped: int | None,
) -> dict[str, Any]:
    """How the device is; times and depth are None where they are not known, as in the will."""
    return {
        "state": state,
        "reason": reason,
        "boot_id": origin.boot_id,
        "version": origin.version,
        "bundle": origin.bundle,
        "last_audio_at": rfc3339(last_audio_at) if last_audio_at else None,
        "last_inference_at": rfc3339(last_inference_at) if last_inference_at else None,
        "outbox_depth": outbox_depth,
        "outbox_dropped": outbox_dropped,
    }


def to_bytes(payload: dict[str, Any]) -> bytes:
    """Compact JSON in ASCII, which holds the name of a file that is not UTF-8 as well."""
    return json.dumps(payload, separators=(",", ":"), allow_nan=False).encode()
