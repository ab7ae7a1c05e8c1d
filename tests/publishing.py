"""A publisher with everything it needs, for the tests of MQTT."""

from __future__ import annotations

import json
from typing import Any

from edge.mqtt import Publisher
from edge.outbox import Outbox
from edge.sections import MqttSettings

BASE = "acula/ward-3/bed-12"


def status() -> dict[str, Any]:
    return {
        "state": "online",
        "reason": "",
        "boot_id": "boot",
        "version": "1",
        "bundle": "tiny-1.2.3",
        "last_audio_at": "2026-11-23T22:38:22.123Z",
        "last_inference_at": "2026-11-23T22:38:22.123Z",
        "outbox_depth": 0,
    }


def put(outbox: Outbox, *event_ids: str) -> None:
    for event_id in event_ids:
        payload = json.dumps({"event_id": event_id, "historical": False})
        outbox.put(event_id, f"{BASE}/event", payload.encode())


def publish(publishers: list[Publisher], port: int, outbox: Outbox, **settings: Any) -> Publisher:
    publisher = Publisher(MqttSettings(port=port, **settings), BASE, outbox, status)
    publishers.append(publisher)
    publisher.start()
    return publisher
