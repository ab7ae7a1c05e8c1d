"""What systemd is told, by a real daemon over a real socket."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from bench.mosquitto import free_port
from edge.notify import Notifier
from tests.brokers import PATIENCE_S, eventually
from tests.programs import ROOT, WEDGED, Daemon

Sounds = Callable[..., NDArray[np.float32]]


class Manager:
    """Stands for systemd: a datagram socket, and what came in."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)
        self._told: list[str] = []

    @property
    def told(self) -> list[str]:
        try:
            while True:
                self._told.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return self._told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify") if request.param == "path" else f"@acula-{os.getpid()}-{tmp_path.name}")
    yield manager
    manager.close()


def test_nothing_is_sent_and_nothing_fails_without_a_service_manager() -> None:
    notifier = Notifier({})
    notifier.ready()
    notifier.turn("")
    notifier.stopping()
    assert notifier.interval_s is None
    Notifier({"NOTIFY_SOCKET": "/no/such/socket"}).ready()


@pytest.mark.parametrize(
    ("environment", "interval_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog_is_for_this_process_and_asked_for_at_half_its_time(
    environment: dict[str, str], interval_s: float | None
) -> None:
    assert Notifier(environment).interval_s == interval_s


def test_pings_are_no_more_often_than_asked_for_and_withheld_while_stuck(manager: Manager) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(10**12)})
    notifier.turn("inference hangs")
    assert manager.told == []
    notifier.turn("")
    notifier.turn("")
    assert manager.told == ["WATCHDOG=1"]
    notifier.alive()
    assert manager.told == ["WATCHDOG=1"] * 2


def test_daemon_is_ready_alive_and_stopping_and_its_pings_stop_while_inference_hangs(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    manager, wedge = Manager(str(tmp_path / "notify")), tmp_path / "wedge"
    command = [sys.executable, "-c", WEDGED, str(wedge), "run", "--bundle.path", str(tiny_bundle_path)]
    command += ["--bundle.allow_unsigned", "--mqtt.port", str(free_port()), "--outbox.path", str(tmp_path / "o.db")]
    command += ["--source.kind", "stdin"]
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "200000"}
    log = tmp_path / "log"
    with log.open("wb") as errors:
        daemon = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=errors)
    try:
        assert daemon.stdin is not None
        eventually(lambda: manager.told.count("WATCHDOG=1") >= 3, "pings")
        assert manager.told[0] == "READY=1"
        wedge.touch()
        daemon.stdin.write((sounds(16_000, 4.0, coughs=[1.0]) * 32767).astype("<i2").tobytes())
        daemon.stdin.flush()
        eventually(lambda: b"the runtime does not answer" in log.read_bytes(), "withheld pings")
        before = len(manager.told)
        time.sleep(1.0)  # ten pings' time; it can only fail where one was sent
        assert manager.told[before:] == []
        wedge.unlink()
        eventually(lambda: len(manager.told) > before, "pings once inference goes on")
        eventually(lambda: b'"event": "event"' in log.read_bytes(), "the cough, heard late")
        daemon.stdin.close()
        assert daemon.wait(PATIENCE_S) == 0, log.read_text()
        assert [message for message in manager.told if message != "WATCHDOG=1"] == ["READY=1", "STOPPING=1"]
    finally:
        daemon.kill()
        daemon.wait()
        manager.close()


def test_daemon_whose_inference_hangs_still_ends_when_it_is_told_to(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    wedge = tmp_path / "wedge"
    with Daemon(tiny_bundle_path, tmp_path, free_port(), program=("-c", WEDGED, str(wedge))) as daemon:
        daemon.wait_for("ready")
        wedge.touch()
        daemon.hear(sounds(16_000, 3.0))
        assert daemon.wait_for("stuck")["reason"] == "the runtime does not answer"
        assert daemon.stop() == 0, daemon.errors()
        assert daemon.logged("listeners_do_not_end")
        assert daemon.logged("stopped")[0]["reason"] == "did not end in time"


def test_daemon_that_meets_a_defect_in_one_of_its_listeners_ends_so_that_it_is_started_anew(
    tiny_bundle_path: Path, tmp_path: Path
) -> None:
    broken = "from edge.sources.file import FileSource\nFileSource.blocks = lambda self: 1 / 0\n"
    (tmp_path / "edge.toml").write_text(
        f'[[sources]]\nname = "a"\nkind = "file"\npath = "{silence(tmp_path)}"\n'
        '[[sources]]\nname = "b"\nkind = "stdin"\n'
    )
    program = broken + "import sys\nfrom edge.__main__ import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "run", "--config", str(tmp_path / "edge.toml")]
    command += ["--bundle.path", str(tiny_bundle_path), "--bundle.allow_unsigned", "--mqtt.port", str(free_port())]
    command += ["--outbox.path", str(tmp_path / "o.db")]
    log = tmp_path / "log"
    with log.open("wb") as errors:
        daemon = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=errors)
    try:
        assert daemon.wait(PATIENCE_S) == 1  # although the other source, an open pipe, goes on
        assert "ZeroDivisionError" in log.read_text()
    finally:
        daemon.kill()
        daemon.wait()
        assert daemon.stdin is not None
        daemon.stdin.close()


RESTARTED = """
import sys
from pathlib import Path
import edge.device
from edge.ending import Ending
edge.device.DRAIN_S = 0.5
once, on_signal = Path(sys.argv.pop(1)), Ending.on_signal
def restart_once(ending):
    on_signal(ending)
    if not once.exists():
        once.touch()
        ending.restart("a test")
Ending.on_signal = restart_once
from edge.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
"""The program, which starts itself anew once."""


def test_restart_leaves_the_watchdog_its_whole_time_for_the_new_start(tiny_bundle_path: Path, tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "notify"))
    command = [sys.executable, "-c", RESTARTED, str(tmp_path / "once"), "run", "--bundle.path", str(tiny_bundle_path)]
    command += ["--bundle.allow_unsigned", "--mqtt.port", str(free_port()), "--outbox.path", str(tmp_path / "o.db")]
    # One that cannot be used ends a run with status 2, but not where it is to start anew.
    (tmp_path / "edge.toml").write_text(
        '[[sources]]\nname = "a"\nkind = "stdin"\n[[sources]]\nname = "b"\nkind = "file"\npath = "/no/such.wav"\n'
    )
    command += ["--config", str(tmp_path / "edge.toml"), "--metrics.port", "0"]
    # So long that a sign comes at the first turn of a run, and from then on only where one is given for a reason.
    environment = {**os.environ, "NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(10**12)}
    daemon = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: manager.told.count("READY=1") == 2, "the second start")
        assert manager.told[:4] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "READY=1"]
    finally:
        daemon.kill()
        daemon.communicate()
        manager.close()


def silence(folder: Path) -> Path:
    soundfile.write(folder / "silence.wav", np.zeros(16_000), 16_000)
    return folder / "silence.wav"
