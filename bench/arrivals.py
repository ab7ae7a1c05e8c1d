"""When events arrive at a subscriber, for the measurements of how late they are. Runs no broker and no daemon."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timezone

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from edge.broker import HOST
from edge.clock import parse_rfc3339

SITE = "bench"
"""`device.site` of the daemons that are listened to."""


@contextlib.contextmanager
def arrivals(port: int) -> Iterator[list[tuple[str, float]]]:
    """Subscribe at the broker of this port; gives a list that grows by (label, seconds since its sound ended)."""
    delays_s: list[tuple[str, float]] = []

    def on_message(_client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        payload = json.loads(message.payload)
        since = datetime.now(timezone.utc) - parse_rfc3339(payload["offset"])
        delays_s.append((payload["label"], since.total_seconds()))

    client = paho.Client(CallbackAPIVersion.VERSION2, "bench", protocol=paho.MQTTv311)
    client.on_message = on_message
    client.connect(HOST, port)
    client.subscribe(f"acula/{SITE}/+/event", qos=1)
    client.loop_start()
    try:
        yield delays_s
    finally:
        client.disconnect()
        client.loop_stop()
