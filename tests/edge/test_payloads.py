from __future__ import annotations

import json
import os
from datetime import datetime, timezone

from edge.clock import Anchor
from edge.events import Event
from edge.payloads import Origin, as_historical, event_payload, status_payload, to_bytes

ORIGIN = Origin(boot_id="boot", version="0.1.0", bundle="room-1.0.0", source="file:ward.wav")
ANCHOR = Anchor(datetime(2026, 11, 23, 22, 0, tzinfo=timezone.utc), 0, 16_000, False)


def payload() -> dict[str, object]:
    event = Event("cough", onset=16_000, offset=21_120, score=0.912345)
    return event_payload(ORIGIN, event, ANCHOR, event_id="id", seq=7)


def test_event_has_exactly_the_fields_of_the_contract() -> None:
    assert payload() == {
        "schema": 1,
        "event_id": "id",
        "boot_id": "boot",
        "seq": 7,
        "label": "cough",
        "onset": "2026-11-23T22:00:01.000Z",
        "offset": "2026-11-23T22:00:01.320Z",
        "duration_s": 0.32,
        "score": 0.9123,
        "source": "file:ward.wav",
        "bundle": "room-1.0.0",
        "clock": "unsynced",
        "historical": False,
    }


def test_historical_changes_nothing_else() -> None:
    assert json.loads(as_historical(to_bytes(payload()))) == {**payload(), "historical": True}


def test_file_name_that_is_not_utf_8_comes_back_from_the_bytes() -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    assert json.loads(to_bytes({"source": name})) == {"source": name}


def test_status_has_exactly_the_fields_of_the_contract_and_null_for_unknown() -> None:
    status = status_payload(
        ORIGIN,
        state="online",
        reason="",
        last_audio_at=ANCHOR.utc,
        last_inference_at=None,
        outbox_depth=3,
        outbox_dropped=1,
    )
    assert status == {
        "state": "online",
        "reason": "",
        "boot_id": "boot",
        "version": "0.1.0",
        "bundle": "room-1.0.0",
        "last_audio_at": "2026-11-23T22:00:00.000Z",
        "last_inference_at": None,
        "outbox_depth": 3,
        "outbox_dropped": 1,
    }
