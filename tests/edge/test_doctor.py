"""The doctor finds what is really broken: brokers, certificates, folders and bundles that this test makes so."""

from __future__ import annotations

import datetime
import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.mosquitto import free_port
from edge import clock
from edge.config import Settings
from edge.doctor.broker import check_broker, judge_expiry
from edge.doctor.finding import Finding
from edge.doctor.machine import check_clock, check_disk, check_outbox, judge_clock
from edge.doctor.model import check_model, judge_time
from edge.doctor.sound import check_sources
from edge.sections import OutboxSettings
from edge.update.record import RecordFile
from tests.brokers import Subscriber, eventually, mosquitto
from tests.certificates import make_certificates
from tests.sound_servers import SoundServer

ROOT = Path(__file__).parents[2]
BASE = "acula/ward-3/bed-12"


@pytest.fixture
def sound_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundServer]:
    with SoundServer(monkeypatch) as server:
        yield server


def settings(**sections: object) -> Settings:
    return Settings.model_validate({"device": {"site": "ward-3", "name": "bed-12"}, **sections})


def states(findings: Iterator[Finding]) -> dict[str, str]:
    """Check to state; every one that is not well says what to do."""
    found = list(findings)
    assert all(finding.remedy for finding in found if finding.state != "ok")
    assert all("\n" not in finding.detail + finding.remedy for finding in found)
    return {finding.check: finding.state for finding in found}


def only_failure(findings: Iterator[Finding]) -> Finding:
    (failure,) = (finding for finding in findings if finding.state == "fail")
    assert failure.remedy
    return failure


def doctor(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge", "doctor", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.broker
def test_doctor_finds_all_well_and_disturbs_nobody(tiny_bundle_path, tmp_path, broker):
    soundfile.write(tmp_path / "ward.wav", np.zeros(1_000), 16_000)
    arguments = ["--bundle.path", str(tiny_bundle_path), "--bundle.allow_unsigned", "--mqtt.port", str(broker.port)]
    arguments += ["--source.kind", "file", "--source.path", str(tmp_path / "ward.wav"), "--outbox.max_mb", "1"]
    arguments += ["--outbox.path", str(tmp_path / "state" / "outbox.db"), "--device.site", "ward-3"]
    with Subscriber(broker.port) as subscriber:
        done = doctor(*arguments, "--device.name", "bed-12", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        eventually(lambda: bool(subscriber.messages), "the message of the doctor")
        assert [(message.topic, message.payload, message.retain) for message in subscriber.messages] == [
            (f"{BASE}/doctor", b"", False)
        ]
    found = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert {"bundle", "backend", "clock", "disk", "outbox", "source", "broker login", "publish"} <= set(found)
    assert not (tmp_path / "state").exists()


def test_doctor_that_finds_a_failure_says_what_to_do_and_ends_with_1(tiny_bundle_path, tmp_path):
    arguments = ["--bundle.path", str(tiny_bundle_path), "--bundle.allow_unsigned", "--mqtt.port", str(free_port())]
    arguments += ["--source.kind", "file", "--source.path", str(tmp_path / "absent.wav")]
    done = doctor(*arguments, "--outbox.path", str(tmp_path / "outbox.db"))
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  source"))
    assert "absent.wav: no such file" in lines[at]
    assert lines[at + 1].strip() == "-> set source.path to a recording that can be read"
    assert any(line.startswith("ok    bundle") for line in lines)


def test_doctor_with_wrong_settings_ends_with_2():
    done = doctor("--mqtt.port", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1


def test_broken_bundle_is_named_with_its_file(tiny_bundle_copy):
    (tiny_bundle_copy / "encoder.onnx").write_bytes(b"broken")
    failure = only_failure(check_model(settings(bundle={"path": str(tiny_bundle_copy), "allow_unsigned": True})))
    assert (failure.check, "encoder.onnx" in failure.detail) == ("bundle", True)


def test_bundle_that_an_update_installed_is_the_one_that_is_checked(tiny_bundle_copy, tmp_path):
    records = RecordFile(tmp_path / "bundles", "")
    installed = records.store / ("a" * 64)
    records.change(lambda record: record.model_copy(update={"current": installed.name}))
    shutil.copytree(tiny_bundle_copy, installed)
    given = settings(bundle={"allow_unsigned": True}, outbox={"path": str(tmp_path / "outbox.db")})
    found = list(check_model(given))
    assert [(finding.check, finding.state) for finding in found] == [("bundle", "ok"), ("backend", "ok")]
    assert str(installed) in found[0].detail
    (installed / "frontend.onnx").unlink()
    assert str(installed) in only_failure(check_model(given)).detail


def test_bundle_that_nobody_signed_is_told(tiny_bundle_path):
    assert "bundle.trusted_keys" in only_failure(check_model(settings(bundle={"path": str(tiny_bundle_path)}))).detail


def test_windows_that_the_bundle_cannot_run_with_are_told(tiny_bundle_path):
    bundle = {"path": str(tiny_bundle_path), "allow_unsigned": True}
    failure = only_failure(check_model(settings(bundle=bundle, windows={"window_s": 1.0, "hop_s": 0.5})))
    assert failure.check == "backend"


@pytest.mark.parametrize(("window_s", "state"), [(0.1, "ok"), (0.3, "warn"), (0.6, "fail")])
def test_backend_is_judged_by_what_a_hop_leaves_of_its_time(window_s, state):
    assert judge_time("onnxruntime", window_s, 0.5).state == state


def test_clock_is_told_as_the_kernel_has_it_and_one_that_was_never_set_fails():
    assert states(check_clock(settings())) == {"clock": "ok" if clock.is_synchronised() else "warn"}
    epoch = datetime.datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert judge_clock(epoch, synchronised=False).state == "fail"


def test_disk_that_is_full_fails_and_one_with_little_room_warns(tmp_path):
    assert states(check_disk(settings(outbox={"path": "/proc/acula/outbox.db"}))) == {"disk": "fail"}
    path = str(tmp_path / "outbox.db")
    free_mb = shutil.disk_usage(tmp_path).free / 1e6
    outbox = OutboxSettings.model_construct(path=path, max_mb=2 * free_mb)  # of a disk of any size
    assert states(check_disk(Settings.model_construct(outbox=outbox))) == {"disk": "warn"}
    assert states(check_disk(settings(outbox={"path": path, "max_mb": 1}))) == {"disk": "ok"}


def test_outbox_in_a_folder_that_takes_no_files_fails():
    assert states(check_outbox(settings(outbox={"path": "/proc/acula/outbox.db"}))) == {"outbox": "fail"}


AS_NOBODY = """
import os, sys
from pathlib import Path
from edge.config import Settings
from edge.doctor.machine import check_audio_group, check_outbox
if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)
settings = Settings.model_validate({"outbox": {"path": sys.argv[2]}})
findings = check_outbox(settings) if sys.argv[1] == "outbox" else check_audio_group(settings, Path(sys.argv[2]))
for finding in findings: print(finding.text())
"""


def as_nobody(check: str, path: Path) -> str:
    """What a check tells an ordinary user, whom permissions bind; root becomes one."""
    command = [sys.executable, "-c", AS_NOBODY, check, str(path)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_outbox_that_this_user_may_not_write_fails(shut_folder):
    path = shut_folder / "outbox.db"
    path.touch(0o400)
    shut_folder.chmod(0o555)
    assert as_nobody("outbox", path).startswith("fail  outbox")
    assert "Permission denied" in as_nobody("outbox", path)
    assert "-> let " in as_nobody("outbox", path)
    shut_folder.chmod(0o777)
    path.chmod(0o400)
    assert "outbox.db cannot be read and written by" in as_nobody("outbox", path)
    path.unlink()
    assert as_nobody("outbox", path).startswith("ok    outbox")
    shut_folder.chmod(0o000)
    assert as_nobody("outbox", shut_folder / "state" / "outbox.db").startswith("fail  outbox")


def test_sound_card_that_this_user_may_not_open_is_told_with_its_group(shut_folder):
    shut_folder.chmod(0o755)
    (shut_folder / "pcmC0D0p").touch(0o000)
    assert as_nobody("audio", shut_folder) == ""
    (shut_folder / "pcmC0D0c").touch(0o000)
    told = as_nobody("audio", shut_folder)
    assert told.startswith("fail  permissions")
    assert "usermod -aG audio" in told
    (shut_folder / "pcmC0D0c").chmod(0o666)
    assert as_nobody("audio", shut_folder).startswith("ok    permissions")


def test_microphone_is_listened_to_and_one_that_gives_zeros_or_is_absent_fails(sound_server):
    sound_server.plug_in("ward")
    source = {"kind": "microphone", "device": "pulse:ward.monitor"}
    failure = only_failure(check_sources(settings(source=source)))
    assert "48000 Hz, -120.0 dBFS: nothing but zeros" in failure.detail
    failure = only_failure(check_sources(settings(source={**source, "device": "pulse:hall.monitor"})))
    assert "PulseAudio has no source hall.monitor, only: ward.monitor" in failure.detail
    assert "python -m edge devices" in failure.remedy
    noise = np.random.default_rng(0).normal(0, 0.1, 60 * 48_000).astype(np.float32)
    with sound_server.playing("ward", noise, 48_000):
        named = [{**source, "name": "bed-12"}, {"name": "bed-13", "kind": "stdin"}]
        assert states(check_sources(settings(sources=named))) == {"source bed-12": "ok", "source bed-13": "ok"}


@pytest.mark.broker
def test_broker_that_cannot_be_reached_is_told_by_the_step_that_fails(tmp_path):
    assert states(check_broker(settings(mqtt={"host": "no-such-host.invalid", "allow_plaintext": True}))) == {
        "broker name": "fail"
    }
    assert "no host name" in only_failure(check_broker(settings(mqtt={"host": "broker..ward", "tls": True}))).detail
    found = states(check_broker(settings(mqtt={"port": free_port()})))
    assert found == {"broker name": "ok", "broker port": "fail"}
    failure = only_failure(check_broker(settings(mqtt={"username": "bed", "password_file": str(tmp_path / "absent")})))
    assert "No such file" in failure.detail


def test_port_on_which_something_else_listens_is_told(monkeypatch):
    monkeypatch.setattr("edge.doctor.broker.TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as other:
        failure = only_failure(check_broker(settings(mqtt={"port": other.getsockname()[1]})))
    assert (failure.check, "no answer" in failure.detail) == ("broker login", True)


@pytest.mark.broker
def test_login_and_leave_to_publish_are_checked(tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hush-hush\n")
    secret.chmod(0o644)
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "passwords"), "bed", "hush-hush"], check=True)
    (tmp_path / "acl").write_text("user bed\ntopic write acula/ward-3/bed-12/#\n")
    for file in ("passwords", "acl"):
        (tmp_path / file).chmod(0o644)
    given = f"allow_anonymous false\npassword_file {tmp_path}/passwords\nacl_file {tmp_path}/acl"
    with mosquitto(tmp_path / "broker", settings=given) as broker:
        mqtt = {"port": broker.port, "username": "bed", "password_file": str(secret)}
        found = states(check_broker(settings(mqtt=mqtt)))
        assert (found["publish"], found["secrets"]) == ("ok", "warn")
        secret.chmod(0o600)
        assert "secrets" not in states(check_broker(settings(mqtt=mqtt)))
        failure = only_failure(check_broker(settings(mqtt={"port": broker.port})))
        assert (failure.check, "mqtt.username" in failure.remedy) == ("broker login", True)
        failure = only_failure(check_broker(settings(mqtt=mqtt, device={"site": "ward-4", "name": "bed-12"})))
        assert "acula/ward-4/bed-12/#" in failure.remedy
        secret.write_text("wrong\n")
        failure = only_failure(check_broker(settings(mqtt=mqtt)))
    assert failure.check == "broker login"
    assert "hush" not in failure.text() and "wrong" not in failure.text()


@pytest.mark.broker
def test_certificates_are_checked(tmp_path):
    make_certificates(tmp_path)
    given = f"allow_anonymous true\ncertfile {tmp_path}/broker.pem\nkeyfile {tmp_path}/broker.key"
    with mosquitto(tmp_path / "broker", settings=given) as broker:
        mqtt = {"port": broker.port, "tls": True, "ca": str(tmp_path / "ca.pem")}
        found = list(check_broker(settings(mqtt=mqtt)))
        # They hold for an hour.
        assert [finding.state for finding in found if finding.check == "certificate"] == ["warn", "warn"]
        assert states(iter(found))["publish"] == "ok"
        failure = only_failure(check_broker(settings(mqtt={**mqtt, "ca": ""})))
        assert (failure.check, "mqtt.ca" in failure.remedy) == ("broker TLS", True)
        failure = only_failure(check_broker(settings(mqtt={**mqtt, "host": "localhost"})))
        assert (failure.check, "mqtt.host" in failure.remedy) == ("broker TLS", True)
    with mosquitto(tmp_path / "plain") as broker:
        failure = only_failure(check_broker(settings(mqtt={**mqtt, "port": broker.port})))
        assert (failure.check, "speaks TLS" in failure.remedy) == ("broker TLS", True)


@pytest.mark.parametrize(("days", "state"), [(-1, "fail"), (0, "fail"), (29, "warn"), (31, "ok")])
def test_certificate_is_warned_of_before_its_end(days: int, state: str) -> None:
    now = datetime.datetime(2026, 11, 29, tzinfo=timezone.utc)
    assert judge_expiry("mqtt.ca", now + timedelta(days=days), now).state == state
