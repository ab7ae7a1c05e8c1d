"""The real daemon beside what plays Home Assistant on a real broker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import paho.mqtt.publish as publish
import pytest
from numpy.typing import NDArray

from tests.brokers import Subscriber, eventually, mosquitto, retained
from tests.programs import BASE, Daemon

pytestmark = pytest.mark.broker

CONFIG = "homeassistant/device/acula_ward-3_bed-12/config"
Sounds = Callable[..., NDArray[np.float32]]


def test_device_announces_itself_again_when_home_assistant_comes_up_and_counts_on_after_a_restart(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    with mosquitto(tmp_path / "broker") as broker, Subscriber(broker.port) as subscriber:

        def announcements() -> int:
            return sum(message.topic == CONFIG for message in list(subscriber.messages))

        def coughs() -> int:
            # A day that ends in the middle of this test begins a new count.
            return sum(
                {state["date"]: state["coughs_today"] for state in subscriber.payloads(f"{BASE}/state")}.values()
            )

        for run in (1, 2):
            before = announcements()
            with Daemon(tiny_bundle_path, tmp_path, broker.port, "--homeassistant.enabled") as daemon:
                eventually(lambda: announcements() > before, "the announcement")  # noqa: B023
                daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
                eventually(lambda: coughs() == run, "the cough in the count")  # noqa: B023
                before = announcements()
                publish.single("homeassistant/status", "online", qos=1, hostname="127.0.0.1", port=broker.port)
                eventually(lambda: announcements() > before, "the announcement after the birth")  # noqa: B023
                assert daemon.stop() == 0, daemon.errors()
        config = retained(broker.port, CONFIG)
        assert config is not None
        topics = {sensor["state_topic"] for sensor in config["cmps"].values()}
        state = retained(broker.port, f"{BASE}/state")
        assert state is not None
        assert state["last_cough"] is not None
        assert {message.topic for message in subscriber.messages} >= topics - {f"{BASE}/respiration"}
