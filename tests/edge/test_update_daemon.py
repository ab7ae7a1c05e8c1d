"""The daemon takes a bundle in, restarts by itself, and goes back: processes, a broker, and real archives."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import paho.mqtt.publish as publish
import pytest
from numpy.typing import NDArray

from bench.mosquitto import free_port
from edge.update.archive import pack
from edge.update.install import Installer
from edge.update.record import RecordFile
from tests.brokers import Broker, Subscriber, eventually
from tests.certificates import make_certificates
from tests.hosts import serving
from tests.programs import BASE, ROOT, WEDGED, Daemon
from tests.updates import archive_of, settings

Sounds = Callable[..., NDArray[np.float32]]


def lay(archive: Path, folder: Path) -> Path:
    """Lay an archive into the inbox of a device that keeps its state in `folder`."""
    inbox = folder / "bundles" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    return Path(archive.rename(inbox / archive.name))


def bundles_run(daemon: Daemon) -> list[str]:
    """What each start has said that it runs; a new log begins with each process."""
    return [entry["bundle"] for entry in daemon.logged("ready")]


@pytest.mark.broker
def test_archive_in_the_inbox_is_run_after_a_restart_and_left_after_a_crash(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker, sounds: Sounds
) -> None:
    archive = archive_of(tiny_bundle_path, tmp_path)
    with Subscriber(broker.port) as subscriber:
        with Daemon(tiny_bundle_path, tmp_path, broker.port, "--update.enabled") as daemon:
            daemon.wait_for("ready")
            daemon.hear(sounds(16_000, 4.0, coughs=[1.0]))
            laid = lay(archive, tmp_path)
            eventually(lambda: len(bundles_run(daemon)) == 2, "the second start of the same process")
            assert bundles_run(daemon) == ["tiny-1.2.3", "tiny-2.0.0"]
            assert not list(laid.parent.glob("*.tar*"))
            # The trial has heard a minute of a synthetic room, in 117 windows, and these seconds.
            assert daemon.logged("update_installed")[0]["windows"] > 117
            daemon.hear(sounds(16_000, 6.0, coughs=[1.0]))
            eventually(lambda: len(subscriber.payloads("/event")) == 2, "an event of each bundle")
            assert [event["bundle"] for event in subscriber.payloads("/event")] == ["tiny-1.2.3", "tiny-2.0.0"]
            status = subscriber.payloads("/status")[-1]
            assert (status["bundle"], status["update"]["state"]) == ("tiny-2.0.0", "probation")
            daemon.stop(signal.SIGKILL)
        with Daemon(tiny_bundle_path, tmp_path, broker.port, "--update.enabled") as daemon:
            daemon.wait_for("ready")
            assert bundles_run(daemon) == ["tiny-1.2.3"]
            assert daemon.logged("update_rolled_back")[0]["bundle"] == "tiny-2.0.0"
            eventually(lambda: (subscriber.payloads("/status")[-1]["update"] or {})["state"] == "rolled back", "status")
            assert daemon.stop() == 0


@pytest.mark.broker
def test_command_has_a_bundle_fetched_and_run(tiny_bundle_path: Path, tmp_path: Path, broker: Broker) -> None:
    make_certificates(tmp_path)
    content = archive_of(tiny_bundle_path, tmp_path).read_bytes()
    with serving(tmp_path) as host, Subscriber(broker.port) as subscriber:
        host.archives["/fleet/room.tar"] = content
        older = archive_of(tiny_bundle_path, tmp_path, "1.2.2").read_bytes()
        host.archives["/fleet/older.tar"] = older
        flags = ("--commands.enabled", "--update.enabled", "--update.hosts", host.host)
        flags += ("--update.ca", str(tmp_path / "ca.pem"))

        def send(command_id: str, sha256: str, archive: str = "room.tar") -> None:
            url = f"https://{host.host}/fleet/{archive}"
            command = {"id": command_id, "command": "update", "url": url, "sha256": sha256}
            publish.single(f"{BASE}/command", json.dumps(command), qos=1, hostname="127.0.0.1", port=broker.port)

        def results() -> list[tuple[str, str]]:
            return [(answer["id"], answer["result"]) for answer in subscriber.payloads("/command/result")]

        with Daemon(tiny_bundle_path, tmp_path, broker.port, *flags) as daemon:
            eventually(lambda: "online" in subscriber.states(), "status online")
            send("wrong", "0" * 64)
            eventually(lambda: ("wrong", "refused") in results(), "the refusal")
            assert "its SHA-256 is" in subscriber.payloads("/command/result")[-1]["reason"]
            send("older", hashlib.sha256(older).hexdigest(), "older.tar")
            eventually(lambda: ("older", "refused") in results(), "the refusal of an older one")
            assert "tiny-1.2.2 is older than tiny-1.2.3" in subscriber.payloads("/command/result")[-1]["reason"]
            send("right", hashlib.sha256(content).hexdigest().upper())
            eventually(lambda: ("right", "done") in results(), "the answer")
            eventually(lambda: bundles_run(daemon) == ["tiny-1.2.3", "tiny-2.0.0"], "the restart")
            assert daemon.stop() == 0, daemon.errors()


@pytest.mark.parametrize(
    "mistake",
    [("--source.kind", "file", "--source.path", "/no/such.wav"), ("--mqtt.password_file", "/no/such")],
    ids=["source", "password"],
)
def test_mistake_in_the_settings_is_not_held_against_a_new_bundle(
    tiny_bundle_path: Path, tmp_path: Path, mistake: tuple[str, ...]
) -> None:
    device = settings(tiny_bundle_path, tmp_path)
    assert Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path))).switched
    for _ in range(2):
        with Daemon(tiny_bundle_path, tmp_path, free_port(), *mistake) as daemon:
            assert daemon.finish() == 2
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.wait_for("ready")
        assert bundles_run(daemon) == ["tiny-2.0.0"]


def test_start_that_a_signal_ends_is_not_held_against_a_new_bundle(tiny_bundle_path: Path, tmp_path: Path) -> None:
    device = settings(tiny_bundle_path, tmp_path)
    assert Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path))).switched
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.wait_for("update_on_probation")  # some steps before it is ready
        assert daemon.stop() == 0
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.wait_for("ready")
        assert bundles_run(daemon) == ["tiny-2.0.0"]


def test_bundle_whose_inference_hangs_is_left_although_the_daemon_ended_when_it_was_told_to(
    tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds
) -> None:
    device, wedge = settings(tiny_bundle_path, tmp_path), tmp_path / "wedge"
    assert Installer(device).install(str(archive_of(tiny_bundle_path, tmp_path))).switched
    with Daemon(tiny_bundle_path, tmp_path, free_port(), program=("-c", WEDGED, str(wedge))) as daemon:
        daemon.wait_for("ready")
        assert bundles_run(daemon) == ["tiny-2.0.0"]
        wedge.touch()
        daemon.hear(sounds(16_000, 3.0))
        daemon.wait_for("stuck")
        assert daemon.stop() == 0, daemon.errors()
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.wait_for("ready")
        assert bundles_run(daemon) == ["tiny-1.2.3"]


def test_bundle_that_runs_well_is_confirmed(tiny_bundle_path: Path, tmp_path: Path, sounds: Sounds) -> None:
    lay(archive_of(tiny_bundle_path, tmp_path), tmp_path)
    with Daemon(tiny_bundle_path, tmp_path, free_port(), "--update.enabled", "--update.probation_s", "1") as daemon:
        eventually(lambda: len(bundles_run(daemon)) == 2, "the start of the new bundle")

        def is_confirmed() -> bool:
            daemon.hear(sounds(16_000, 1.0))
            return bool(daemon.logged("update_confirmed"))

        eventually(is_confirmed, "the end of the probation")
        daemon.stop(signal.SIGKILL)
    with Daemon(tiny_bundle_path, tmp_path, free_port()) as daemon:
        daemon.wait_for("ready")
        assert bundles_run(daemon) == ["tiny-2.0.0"]


@pytest.mark.broker
def test_archive_that_is_refused_is_told_in_the_status_and_set_aside(
    tiny_bundle_path: Path, tmp_path: Path, broker: Broker
) -> None:
    noise = tmp_path / "noise.tar"
    noise.write_bytes(b"\x07" * 2048)
    (tmp_path / "link.tar").symlink_to("/etc/passwd")
    with (
        Subscriber(broker.port) as subscriber,
        Daemon(tiny_bundle_path, tmp_path, broker.port, "--update.enabled") as daemon,
    ):
        daemon.wait_for("ready")
        inbox = lay(noise, tmp_path).parent
        (tmp_path / "link.tar").rename(inbox / "link.tar")
        eventually(lambda: (inbox / "noise.tar.refused").exists(), "the end of the update")
        eventually(lambda: (inbox / "link.tar.refused").is_symlink(), "the end of the other")
        told = [entry["reason"] for entry in daemon.logged("update_refused")]
        assert any("noise.tar.taken: the archive is no .tar file" in reason for reason in told)
        assert any("link.tar: is a link" in reason for reason in told)

        def told_in_status() -> bool:
            update = (subscriber.payloads("/status") or [{}])[-1].get("update")
            return update is not None and update["state"] == "refused"

        eventually(told_in_status, "the refusal in the status")
        assert bundles_run(daemon) == ["tiny-1.2.3"]
        assert daemon.stop() == 0


def test_inbox_that_cannot_be_written_is_one_line(tiny_bundle_path: Path, tmp_path: Path) -> None:
    arguments = ("--update.enabled", "--update.inbox", "/proc/inbox")
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *arguments) as daemon:
        assert daemon.finish() == 2
        assert daemon.errors().startswith("error: update.inbox: /proc/inbox: cannot be written: ")
        assert daemon.errors().count("\n") == 1


def update(bundle: Path, state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "update", *arguments, "--bundle.path", str(bundle)]
    command += ["--bundle.allow_unsigned", "--outbox.path", str(state / "outbox.db"), "--log.level", "error"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_update_by_hand_says_what_to_do_next(tiny_bundle_path: Path, tmp_path: Path) -> None:
    same = update(tiny_bundle_path, tmp_path, str(pack(tiny_bundle_path, tmp_path / "same.tar")))
    assert (same.returncode, same.stdout) == (0, "tiny-1.2.3 runs already; nothing was changed\n")
    done = update(tiny_bundle_path, tmp_path, str(archive_of(tiny_bundle_path, tmp_path)))
    assert (done.returncode, done.stderr) == (0, "")
    assert "tiny-2.0.0 is installed" in done.stdout
    assert "next: systemctl restart acula-edge" in done.stdout
    assert RecordFile(tmp_path / "bundles", str(tiny_bundle_path)).read().name == "tiny-2.0.0"


def test_update_by_hand_to_an_older_bundle_is_taken_when_it_is_meant(tiny_bundle_path: Path, tmp_path: Path) -> None:
    older = str(archive_of(tiny_bundle_path, tmp_path, "1.2.2"))
    refused = update(tiny_bundle_path, tmp_path, older)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "tiny-1.2.2 is older than tiny-1.2.3" in refused.stderr
    assert "tiny-1.2.2 is installed" in update(tiny_bundle_path, tmp_path, older, "--allow_downgrade").stdout


def test_update_by_hand_that_is_refused_is_one_line_and_status_2(tiny_bundle_path: Path, tmp_path: Path) -> None:
    refused = update(tiny_bundle_path, tmp_path, str(tmp_path / "none.tar"))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"error: {tmp_path / 'none.tar'}: cannot be read: No such file or directory\n"
    outcome = json.loads((tmp_path / "bundles" / "record.json").read_text())["outcome"]
    assert outcome["state"] == "refused"
