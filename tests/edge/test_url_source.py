"""A real ffmpeg hears what a real HTTP server, and an RTSP one, serve, and nobody sees the password."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from bench.mosquitto import free_port
from edge.errors import AudioError, ConfigError
from edge.sources.url import url_source
from tests.brokers import eventually
from tests.listening import Recorder
from tests.rtsp import Camera

USER, PASSWORD, TOKEN = "bed-12", "hush-hush", "s3same"


class Server:
    """Serves files of a folder to whoever knows the password; counts the requests."""

    def __init__(self, folder: Path) -> None:
        self.requests = 0
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder))

            def do_GET(self) -> None:
                outer.requests += 1
                expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers.get("Authorization") == f"Basic {expected}" and TOKEN in self.path:
                    super().do_GET()
                else:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="ward"')
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, name: str, password: str = PASSWORD) -> str:
        return f"http://{USER}:{password}@127.0.0.1:{self.port}/{name}?token={TOKEN}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.close()


def open_url(url: str, channel: int = 0):
    return url_source(url, channel=channel, stall_s=60.0, retry_s=0.5, zeros_s=0.0)


def test_stream_is_heard_at_its_own_rate_and_opened_again_when_it_ends(tmp_path, server, logs):
    samples = np.random.default_rng(0).integers(-20_000, 20_000, (22_050, 2)).astype(np.int16)
    soundfile.write(tmp_path / "ward.wav", samples, 22_050)
    source = open_url(server.url("ward.wav"), channel=2)
    assert source.name == f"url:http://127.0.0.1:{server.port}/ward.wav"
    with Recorder(source) as recorder:
        eventually(lambda: recorder.gaps != [] and len(recorder.samples) >= 2 * 22_050, "the stream once more")
        assert (source.sample_rate_hz, source.channels) == (22_050, 1)
    first = recorder.between(0, recorder.gaps[0][1])
    assert np.array_equal(first, samples[:, 1].astype(np.float32) / 32_768)
    assert server.requests >= 2
    assert_secret(logs)


def test_camera_is_heard_over_rtsp_sample_by_sample_and_again_when_it_has_hung_up():
    sound = np.random.default_rng(0).integers(-20_000, 20_000, 16_000 * 2).astype(np.int16)
    with Camera(sound, 16_000) as camera, Recorder(open_url(camera.url)) as recorder:
        eventually(lambda: len(recorder.samples) > 16_000, "sound")
        assert (recorder.source.name, recorder.source.sample_rate_hz) == (f"url:{camera.url}", 16_000)
        camera.hang_up.set()
        eventually(lambda: recorder.source.trouble != "", "its absence")
        camera.hang_up.clear()
        eventually(lambda: camera.viewers >= 2 and recorder.source.trouble == "", "sound again")
    before = recorder.between(0, recorder.gaps[0][0])
    assert np.array_equal(before[:16_000], sound[:16_000].astype(np.float32) / 32_768)


@pytest.mark.parametrize("fault", ["wrong password", "nothing there", "no camera", "no sound"])
def test_stream_that_cannot_be_heard_is_told_without_its_password(tmp_path, server, logs, fault):
    (tmp_path / "letter.txt").write_text("Dear colleague,\n" * 100)
    url = {
        "wrong password": server.url("ward.wav", "wrong-secret"),
        "nothing there": f"http://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/ward.wav?token={TOKEN}",
        "no camera": f"rtsp://{USER}:{PASSWORD}@127.0.0.1:{free_port()}/ward?token={TOKEN}",
        "no sound": server.url("letter.txt"),
    }[fault]
    told = {"wrong password": "401", "nothing there": "refused", "no camera": "refused", "no sound": "Invalid data"}[
        fault
    ]
    source = open_url(url)
    with Recorder(source) as recorder:
        eventually(lambda: told in source.trouble, "trouble")
        trouble = source.trouble
    assert recorder.blocks == []
    assert_secret([trouble, source.name, logs])


def assert_secret(told: object) -> None:
    text = str(told)
    assert text
    assert not [secret for secret in (USER, PASSWORD, TOKEN, "wrong-secret") if secret in text]


@pytest.mark.parametrize("url", ["ward.wav", "rtsp:/camera", "http://[::1/x", "//camera/x", "rtsp://camera:port/x"])
def test_what_is_no_url_says_how_to_write_one(url):
    with pytest.raises(ConfigError, match="write it as rtsp://host/stream"):
        open_url(url)


def test_missing_ffmpeg_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioError, match="apt install ffmpeg"):
        open_url("rtsp://camera/1")
