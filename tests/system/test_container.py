"""The health check of the container's image, as it stands in the Containerfile, against real daemons."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from bench.mosquitto import free_port
from tests.programs import ROOT, WEDGED, Daemon

CONTAINER = ROOT / "deploy" / "container"

pytest.importorskip("tomllib", reason="the image has Python 3.11 or later")


def health(settings: Path, **environment: str) -> tuple[int, str]:
    """Exit status and words of the check, with the files of this checkout in the places of the image's."""
    [command] = re.findall(r"HEALTHCHECK [^\[]*CMD (\[.*\])", (CONTAINER / "Containerfile").read_text())
    places = {
        "/opt/acula-edge/bin/python": sys.executable,
        "/opt/acula-edge/healthy.py": str(CONTAINER / "healthy.py"),
        "/etc/acula-edge/edge.toml": str(settings),
    }
    done = subprocess.run(
        [places[word] for word in json.loads(command)],
        env={**os.environ, "http_proxy": "http://127.0.0.1:9", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr.strip()


def settings_for(daemon: Daemon, folder: Path) -> Path:
    """The settings that deploy/ ships, with the port at which this daemon serves its metrics."""
    port = urllib.parse.urlsplit(str(daemon.wait_for("metrics")["address"])).port
    file = folder / "edge.toml"
    file.write_text((ROOT / "deploy" / "edge.toml").read_text().replace("port = 9105", f"port = {port}"))
    daemon.wait_for("ready")
    return file


def test_daemon_without_sound_and_broker_is_healthy_until_it_is_stopped_or_gone(tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), "--source.kind", "microphone") as daemon:
        settings = settings_for(daemon, tmp_path)
        assert health(settings) == (0, "")
        assert health(settings, ACULA_EDGE__METRICS__HOST="0.0.0.0") == (0, "")  # noqa: S104
        assert health(settings, ACULA_EDGE__METRICS__PORT=str(free_port()))[0] == 1
        daemon.process.send_signal(signal.SIGSTOP)
        status, words = health(settings)
        assert status == 1
        assert words.startswith("no answer from 127.0.0.1:")
        daemon.process.send_signal(signal.SIGCONT)
        assert health(settings) == (0, "")
        daemon.process.kill()
        daemon.process.wait()
        assert health(settings)[0] == 1


def test_daemon_whose_inference_hangs_is_not_healthy(tiny_bundle_path, tmp_path, sounds):
    wedge = tmp_path / "wedge"
    with Daemon(tiny_bundle_path, tmp_path, free_port(), program=("-c", WEDGED, str(wedge))) as daemon:
        settings = settings_for(daemon, tmp_path)
        assert health(settings) == (0, "")
        wedge.touch()
        daemon.hear(sounds(16_000, 3.0))
        daemon.wait_for("stuck")
        assert health(settings) == (1, "it is stuck; its log says why")
