"""A disk that takes no writes when the daemon starts: all is heard, delivered and told, and kept once it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.brokers import Broker, Subscriber, eventually
from tests.needs import MOUNTING, need_mounts
from tests.programs import Daemon
from tests.updates import knowing_speech

ON_A_READ_ONLY_DISK = """
mount -t tmpfs -o ro tmpfs "$1" || exit 3
(while [ ! -e "$2" ]; do sleep 0.1; done; mount -o remount,rw tmpfs "$1") &
shift 2; exec "$@"
"""
"""A file system that only this process sees, and that takes writes once there is a certain file elsewhere."""


IMPATIENT = """
import sys
import edge.update.updater
edge.update.updater._TROUBLE_S = 1.0
from edge.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The program, which looks soon again into an inbox that could not be written."""


@pytest.mark.broker
def test_daemon_that_starts_on_a_read_only_disk_hears_and_says_so_and_recovers(
    tiny_bundle_copy: Path, tmp_path: Path, broker: Broker, sounds: Callable[..., NDArray[np.float32]]
) -> None:
    need_mounts()
    state, repaired = tmp_path / "state", tmp_path / "repaired"
    state.mkdir()
    under = (*MOUNTING, "sh", "-c", ON_A_READ_ONLY_DISK, "sh", str(state), str(repaired))
    arguments = ("--outbox.path", str(state / "outbox.db"), "--clips.enabled", "--clips.min_free_mb", "1")
    arguments += ("--update.enabled", "--commands.enabled")
    bundle = knowing_speech(tiny_bundle_copy)
    with (
        Subscriber(broker.port) as subscriber,
        Daemon(bundle, tmp_path, broker.port, *arguments, under=under, program=("-c", IMPATIENT)) as daemon,
    ):
        daemon.wait_for("ready")
        daemon.hear(sounds(16_000, 6.0, coughs=[2.0]))
        eventually(lambda: len(subscriber.event_ids()) == 1, "the event")

        def reason() -> str:
            return str((subscriber.payloads("/status") or [{}])[-1].get("reason"))

        parts = ("outbox: ", "clips: ", "update: ")
        eventually(lambda: all(part in reason() for part in parts), "all troubles in the status")
        repaired.touch()
        daemon.wait_for("outbox_writable_again")
        daemon.hear(sounds(16_000, 6.0, coughs=[2.0]))
        eventually(lambda: len(subscriber.event_ids()) == 2, "an event after the repair")
        eventually(lambda: subscriber.payloads("/status")[-1]["clips"]["written"] == 1, "its clip", 120.0)
        eventually(lambda: not any(part in reason() for part in parts), "a status without troubles", 120.0)
        assert daemon.stop() == 0, daemon.errors()
