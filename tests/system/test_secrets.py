"""Nothing that the program prints, logs or publishes holds a secret that it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.mosquitto import free_port
from tests.brokers import Subscriber, eventually, mosquitto
from tests.programs import ROOT, Daemon

SECRET = "correct-horse-battery"  # noqa: S105
VARIABLE = "ACULA_EDGE__MQTT__PASSWORD"


def edge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "run", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_printed_settings_hold_no_password() -> None:
    printed = edge("--print-config", "--mqtt.username", "bed-12", **{VARIABLE: SECRET})
    assert printed.returncode == 0
    assert "bed-12" in printed.stdout
    assert SECRET not in printed.stdout + printed.stderr


@pytest.mark.parametrize("url", [f"rtsp://bed-12:{SECRET}@camera/live", f"https://camera/live?token={SECRET}"])
def test_printed_settings_hold_no_secret_of_a_url(url: str) -> None:
    printed = edge("--print-config", "--source.kind", "url", "--source.path", url)
    assert printed.returncode == 0
    assert "camera/live" in printed.stdout
    assert SECRET not in printed.stdout + printed.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--mqtt.password", SECRET),
        ("--mqtt.passwort", SECRET),
        (f"--mqtt.passwort={SECRET}",),
        ("--mqtt.port", "0"),
        ("--mqtt.password_file", "/no/such"),
    ],
)
def test_mistake_is_told_without_the_secret_beside_it(arguments: tuple[str, ...]) -> None:
    told = edge(*arguments, **{VARIABLE: SECRET})
    assert told.returncode == 2
    assert told.stderr.startswith("error: ")
    assert told.stderr.count("\n") == 1
    assert SECRET not in told.stdout + told.stderr


def test_password_in_the_settings_file_is_refused_without_being_shown(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text(f'[mqtt]\npassword = "{SECRET}"\n')
    told = edge("--config", str(tmp_path / "edge.toml"))
    assert told.returncode == 2
    assert "others can read it there; set ACULA_EDGE__MQTT__PASSWORD" in told.stderr
    assert SECRET not in told.stderr


DEFECT = f"""
from edge import logs
from edge.sections import LogSettings
import sys, structlog
logs.configure(LogSettings(format=sys.argv[1]))
def fail(password):
    raise RuntimeError("a defect")
try:
    fail("".join(reversed("{SECRET[::-1]}")))
except RuntimeError:
    structlog.get_logger().exception("failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_traceback_in_the_log_does_not_tell_what_variables_hold(form: str) -> None:
    told = subprocess.run([sys.executable, "-c", DEFECT, form], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "RuntimeError: a defect" in told.stderr
    assert SECRET not in told.stderr


@pytest.mark.broker
def test_run_says_no_secret_whether_the_broker_takes_or_refuses_it(
    tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts = tmp_path / "accounts"
    port = free_port()
    user = ("--mqtt.username", "bed-12", "--log.level", "debug")
    monkeypatch.setenv(VARIABLE, SECRET)
    said = ""
    for right in (f"not-{SECRET}", SECRET):
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(accounts), "bed-12", right], check=True)
        accounts.chmod(0o644)
        rules = f"allow_anonymous true\npassword_file {accounts}"
        (run := tmp_path / str(len(right))).mkdir()
        with (
            mosquitto(run / "broker", settings=rules, port=port) as broker,
            Subscriber(broker.port) as subscriber,
            Daemon(tiny_bundle_path, run, broker.port, *user) as daemon,
        ):
            daemon.wait_for("broker_connected" if right == SECRET else "broker_refused_credentials")
            if right == SECRET:
                eventually(lambda: "online" in subscriber.states(), "status online")
            daemon.stop()
            said += daemon.errors() + str([message.payload for message in subscriber.messages])
            said += daemon.outbox.read_bytes().decode("latin1")
    assert "online" in said
    assert SECRET not in said
