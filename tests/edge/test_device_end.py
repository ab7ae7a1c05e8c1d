"""A daemon with a defect in some of its parts: the others end in order, and what was heard is delivered."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from edge.update.install import Installer
from edge.update.record import RecordFile
from tests.brokers import PATIENCE_S, Broker, Subscriber, eventually, retained
from tests.programs import BASE, ROOT, is_gone
from tests.updates import archive_of, settings

DEFECTIVE = """
import os, sys, time
from pathlib import Path
pid_file = sys.argv.pop(1)
if pid_file == "child":
    Path(sys.argv[1]).write_text(str(os.getpid()))
    time.sleep(3600)
def defect(*_arguments, **_named):
    raise RuntimeError("a defect")
import edge.daemon, edge.device
import edge.sources.microphone as microphone
from edge.homeassistant import HomeAssistant
from edge.minute import Minutes
from edge.notify import Notifier
from edge.sources.file import FileSource
from edge.update.updater import Updater
Notifier.stopping = Updater.stop = FileSource.close = Minutes.turn = HomeAssistant.say = defect
edge.device.start_metrics = lambda *_arguments, **_named: defect
edge.daemon._STOP_S = 1.0  # what a source that cannot be closed is waited for
microphone.capture_command = lambda *_: [sys.executable, "-c", sys.orig_argv[2], "child", pid_file]
from edge.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The program, with parts that fail when they are ended, and a capture child that only sleeps."""


@pytest.mark.broker
def test_part_that_fails_at_the_end_keeps_no_other_from_its_own(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Callable[..., NDArray[np.float32]]
) -> None:
    soundfile.write(tmp_path / "ward.wav", np.zeros(16_000 * 600), 16_000)
    (tmp_path / "edge.toml").write_text(
        f'[[sources]]\nname = "a"\nkind = "file"\npath = "{tmp_path / "ward.wav"}"\n'
        '[[sources]]\nname = "b"\nkind = "microphone"\n[[sources]]\nname = "c"\nkind = "stdin"\n'
    )
    device = settings(tiny_bundle_path, tmp_path)
    assert Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path))).switched
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    command = [sys.executable, "-c", DEFECTIVE, str(pid_file), "run", "--config", str(tmp_path / "edge.toml")]
    command += ["--device.site", "ward-3", "--device.name", "bed-12", "--bundle.path", str(tiny_bundle_path)]
    command += ["--bundle.allow_unsigned", "--mqtt.port", str(broker.port), "--outbox.path", str(tmp_path / "o.db")]
    command += ["--update.enabled", "--homeassistant.enabled"]
    with Subscriber(broker.port) as subscriber, log.open("wb") as errors:
        daemon = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=errors)
        try:
            assert daemon.stdin is not None
            daemon.stdin.write((sounds(16_000, 4.0, coughs=[1.0]) * 32767).astype("<i2").tobytes())
            daemon.stdin.flush()
            eventually(lambda: len(subscriber.event_ids()) == 1, "the event")
            eventually(pid_file.exists, "the capture child")
            told_so = "defect: minutes failed (a defect); HomeAssistant failed (a defect)"
            eventually(lambda: told_so in (retained(broker.port, f"{BASE}/status") or {})["reason"], "the defect")
            daemon.terminate()
            assert daemon.wait(PATIENCE_S) == 0, log.read_text()
            status = retained(broker.port, f"{BASE}/status")
        finally:
            daemon.kill()
            daemon.wait()
            assert daemon.stdin is not None
            daemon.stdin.close()
    assert status is not None
    assert (status["state"], status["reason"], status["outbox_depth"]) == ("offline", "did not end in time", 0)
    assert is_gone(int(pid_file.read_text()))
    told = log.read_text()
    assert all(f'"part": "{part}"' in told for part in ("notifier", "updater", "metrics", "minutes"))
    assert '"event": "source_not_closed"' in told
    # A new bundle is not to blame for sources that do not end.
    assert RecordFile(device.update_folder, device.bundle.path).read().in_order
