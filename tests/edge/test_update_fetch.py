"""Where an archive comes from: files, and hosts over HTTPS, real ones with an authority of their own."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.errors import UpdateError
from edge.sections import UpdateSettings
from edge.update.fetch import shown, take
from tests.brokers import PATIENCE_S
from tests.certificates import make_certificates
from tests.hosts import CONTENT, Host, serving

SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture
def server(certificates: Path) -> Iterator[Host]:
    with serving(certificates) as server:
        yield server


@pytest.fixture
def settings(server: Host, certificates: Path) -> UpdateSettings:
    return UpdateSettings(hosts=(server.host,), ca=str(certificates / "ca.pem"), max_mb=1.0)


def taken(tmp_path: Path, origin: str, settings: UpdateSettings, stopping: threading.Event | None = None) -> str:
    with (tmp_path / "taken").open("w+b") as target:
        digest = take(origin, target, settings, stopping or threading.Event())
        target.seek(0)
        assert target.read() == CONTENT
    return digest


def test_archive_is_fetched_from_a_named_host_that_proves_itself(
    tmp_path: Path, server: Host, settings: UpdateSettings
) -> None:
    assert taken(tmp_path, f"https://{server.host}/room.tar", settings) == SHA256
    assert server.asked == [("/room.tar", "")]


def test_credentials_go_to_the_named_host_and_not_where_it_redirects(
    tmp_path: Path, server: Host, settings: UpdateSettings, certificates: Path, logs: list[Any]
) -> None:
    (tmp_path / "token").write_text("Bearer hush\n")
    (tmp_path / "token").chmod(0o644)
    with serving(certificates) as other:
        server.redirects["other"] = f"https://{other.host}/room.tar?signed=1"
        both = settings.model_copy(
            update={"hosts": (server.host, other.host), "authorization_file": str(tmp_path / "token")}
        )
        assert taken(tmp_path, f"https://{server.host}/to/other", both) == SHA256
        assert server.asked == [("/to/other", "Bearer hush")]
        assert other.asked == [("/room.tar?signed=1", "")]
    assert [entry["event"] for entry in logs] == ["secret_readable_by_all"]


def test_archive_that_would_leave_too_little_of_the_disk_is_refused(
    tmp_path: Path, server: Host, settings: UpdateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.update.fetch.RESERVE_BYTES", 2 * shutil.disk_usage(tmp_path).free)
    with pytest.raises(UpdateError, match="does not fit on the disk"):
        taken(tmp_path, f"https://{server.host}/room.tar", settings)


@pytest.mark.parametrize("url", ["https://user:hush@[1/room.tar?token=hush", "https://user:hush@\u2100/room.tar"])
def test_what_is_no_url_is_refused_without_being_shown(tmp_path: Path, settings: UpdateSettings, url: str) -> None:
    with pytest.raises(UpdateError, match=r"^https://…: is no URL; write it") as refusal:
        taken(tmp_path, url, settings)
    assert "hush" not in str(refusal.value)


def test_host_with_a_certificate_of_another_authority_is_not_trusted(
    tmp_path: Path, server: Host, settings: UpdateSettings
) -> None:
    make_certificates(tmp_path)
    other = settings.model_copy(update={"ca": str(tmp_path / "ca.pem")})
    with pytest.raises(UpdateError, match="the host's certificate is not trusted"):
        taken(tmp_path, f"https://{server.host}/room.tar", other)
    assert server.asked == []


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/none.tar", "the host answers 404"),
        ("/large.tar", "is larger than update.max_mb = 1"),
        ("/endless.tar", "is larger than update.max_mb = 1"),
        ("/half.tar", "ended after 384000 of 768000 bytes"),
        ("/silent.tar", "no answer in time"),
        ("/to/http", "redirects to http://127.0.0.1/room.tar: is not fetched over http, only over https"),
        ("/to/file", "the host answers 302"),
        ("/to/elsewhere", "evil.example on port 443 is not among update.hosts"),
        ("/to/itself", "the host answers 302"),
    ],
)
def test_what_a_host_must_not_do_is_one_line(
    tmp_path: Path, server: Host, settings: UpdateSettings, path: str, told: str
) -> None:
    server.redirects |= {
        "http": "http://127.0.0.1/room.tar",
        "file": "file:///etc/passwd",
        "elsewhere": "https://evil.example/room.tar",
        "itself": f"https://{server.host}/to/itself",
    }
    patience_s = 2.0 if path == "/silent.tar" else PATIENCE_S
    with pytest.raises(UpdateError, match=told) as refusal:
        taken(tmp_path, f"https://{server.host}{path}", settings.model_copy(update={"timeout_s": patience_s}))
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith(f"https://{server.host}{path}: ")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://HOST/room.tar", "is not fetched over http, only over https"),
        ("ftp://HOST/room.tar", "is not fetched over ftp"),
        ("file:///etc/passwd", "is not fetched over file"),
        ("https://user:hush@HOST/room.tar", "carries a user or password"),
        ("https://updates.example/room.tar?token=hush", "updates.example on port 443 is not among update.hosts"),
        ("https://user@HOST/room.tar", "carries a user or password"),
        ("https://127.0.0.1:99/room.tar", "127.0.0.1 on port 99 is not among update.hosts"),
    ],
)
def test_url_that_is_not_to_be_asked_is_refused_unasked_and_without_its_secrets(
    tmp_path: Path, server: Host, settings: UpdateSettings, url: str, told: str
) -> None:
    with pytest.raises(UpdateError, match=told) as refusal:
        taken(tmp_path, url.replace("HOST", server.host), settings)
    assert server.asked == []
    assert "hush" not in str(refusal.value)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"ca": "/no/such.pem"}, "update.ca: /no/such.pem: cannot be read as a PEM certificate"),
        ({"authorization_file": "/no/token"}, "update.authorization_file: /no/token: cannot be read: No such file"),
        ({"hosts": ()}, "is not among update.hosts"),
    ],
)
def test_setting_that_does_not_serve_is_one_line(
    tmp_path: Path, server: Host, settings: UpdateSettings, setting: dict[str, object], told: str
) -> None:
    with pytest.raises(UpdateError, match=told):
        taken(tmp_path, f"https://{server.host}/room.tar", settings.model_copy(update=setting))
    assert server.asked == []


def test_fetching_is_given_up_when_the_daemon_stops(tmp_path: Path, server: Host, settings: UpdateSettings) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(UpdateError, match="given up, because the daemon stops"):
        taken(tmp_path, f"https://{server.host}/room.tar", settings, stopping)


def test_host_may_be_named_in_capitals(tmp_path: Path, server: Host, settings: UpdateSettings) -> None:
    named = settings.model_copy(update={"hosts": (server.host.replace("127.0.0.1", "LocalHost"),)})
    url = f"https://{server.host}/room.tar".replace("127.0.0.1", "localhost")
    with pytest.raises(UpdateError, match="certificate is not trusted"):  # so it was asked; it is of the address
        taken(tmp_path, url, named)


def test_host_that_takes_too_long_is_given_up(
    tmp_path: Path, server: Host, settings: UpdateSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.update.fetch.DEADLINE_S", 0.0)
    with pytest.raises(UpdateError, match="given up after 0 minutes; the host is too slow"):
        taken(tmp_path, f"https://{server.host}/room.tar", settings)


def test_file_is_taken_and_anything_else_at_a_path_is_refused(tmp_path: Path) -> None:
    settings = UpdateSettings(max_mb=1.0)
    (tmp_path / "room.tar").write_bytes(CONTENT)
    assert taken(tmp_path, str(tmp_path / "room.tar"), settings) == SHA256
    (tmp_path / "large.tar").write_bytes(bytes(1_000_001))
    os.mkfifo(tmp_path / "pipe.tar")
    for name, told in {
        "none.tar": "cannot be read: No such file",
        ".": "cannot be read: Is a directory",
        "pipe.tar": "is no file",
        "large.tar": "is larger than update.max_mb = 1",
    }.items():
        with pytest.raises(UpdateError, match=told):
            taken(tmp_path, str(tmp_path / name), settings)


def test_url_is_shown_without_what_may_be_secret() -> None:
    assert (
        shown("https://user:hush@host.example:8443/a/room.tar?token=hush#x") == "https://host.example:8443/a/room.tar"
    )
    assert shown("/srv/room.tar") == "/srv/room.tar"
