"""The page in a real browser, beside the real daemon."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from paho.mqtt import publish
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from bench.mosquitto import free_port
from edge import clock
from edge.dashboard.board import Board
from edge.dashboard.server import serve
from edge.hooks import Hooks
from edge.sections import DashboardSettings
from tests.brokers import Broker, eventually, mosquitto
from tests.browsers import HEIGHT, WIDTH, chromium
from tests.pages import place_of
from tests.programs import BASE, Daemon
from tests.relays import Relay

ON = ("--dashboard.enabled", "--dashboard.port")

PAINTED = """
const canvas = document.getElementById("scores"), [red, green, blue] = arguments[0];
const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
let found = 0;
for (let at = 0; at < data.length; at += 4) {
  found += Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue) < 8;
}
return found;
"""
COUGH, BREATH = (0xC2, 0x36, 0x4F), (0x1F, 0x7A, 0x99)
NAME_PIXELS = 400
"""More than the label's name beside its lane has."""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(scope="module")
def shared_browser() -> Iterator[Chrome]:
    with chromium() as started:
        yield started


@pytest.fixture
def browser(shared_browser: Chrome) -> Chrome:
    """With nothing told on its console yet, and in its usual size."""
    shared_browser.get_log("browser")
    shared_browser.set_window_size(WIDTH, HEIGHT)
    return shared_browser


def text(browser: Chrome, name: str) -> str:
    return browser.find_element(By.ID, name).text


def rows(browser: Chrome) -> list[list[str]]:
    script = (
        "return [...document.querySelectorAll('#events tr')].map((row) => [...row.cells].map((one) => one.innerText))"
    )
    found: list[list[str]] = browser.execute_script(script)
    return found


def painted(browser: Chrome, colour: tuple[int, int, int]) -> int:
    pixels: int = browser.execute_script(PAINTED, colour)
    return pixels


def open_page(browser: Chrome, daemon: Daemon) -> None:
    browser.get(str(daemon.wait_for("dashboard")["address"]))


@pytest.mark.broker
def test_page_shows_what_is_heard_and_how_the_device_is(browser, tiny_bundle_path, tmp_path, broker, sounds):
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *ON, "0") as daemon:
        open_page(browser, daemon)
        eventually(lambda: text(browser, "state") == "online", "the state")
        assert text(browser, "device") == "ward-3 / bed-12"
        assert "tiny-1.2.3" in text(browser, "about")
        eventually(browser.find_element(By.ID, "none").is_displayed, "that there is no event yet")
        assert painted(browser, COUGH) < NAME_PIXELS
        daemon.hear(sounds(16_000, 14.0, coughs=[1.0, 3.0], breaths=[5.0]))
        eventually(
            lambda: [row[1] for row in rows(browser)] == ["breath", "cough", "cough"], "the events, newest first"
        )
        assert [row[4] for row in rows(browser)] == ["stdin"] * 3
        assert not browser.find_element(By.ID, "none").is_displayed()
        eventually(lambda: min(painted(browser, COUGH), painted(browser, BREATH)) > NAME_PIXELS, "the scores")
        eventually(lambda: "dBFS" in text(browser, "level"), "the level")
        eventually(lambda: text(browser, "hours").split()[:4] == ["cough", "2", "breath", "1"], "the counts of the day")
        eventually(lambda: "connected" in text(browser, "facts"), "the broker")
        # Neither an error nor something that the policy forbade; that pixels are read, slowly, is this test's doing.
        assert [entry for entry in browser.get_log("browser") if entry["source"] != "rendering"] == []
        assert daemon.stop() == 0, daemon.errors()


@pytest.mark.slow
def test_page_finds_the_device_again_and_shows_the_new_run(browser, tiny_bundle_path, tmp_path, sounds):
    port = free_port()
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with Daemon(tiny_bundle_path, first, free_port(), *ON, str(port)) as daemon:
        open_page(browser, daemon)
        daemon.hear(sounds(16_000, 8.0, coughs=[1.0, 3.0]))
        eventually(lambda: len(rows(browser)) == 2, "two coughs")
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
        eventually(lambda: text(browser, "state") == "not reachable", "the state of a device that is gone")
        assert "from before" in text(browser, "reason")
        assert len(rows(browser)) == 2
    with Daemon(tiny_bundle_path, second, free_port(), *ON, str(port)) as daemon:
        daemon.hear(sounds(16_000, 8.0, breaths=[1.0]))
        eventually(lambda: text(browser, "state") == "online", "the state of the new run")
        eventually(lambda: [row[1] for row in rows(browser)] == ["breath"], "the new run's event alone")
        assert not browser.find_element(By.ID, "reason").is_displayed()


@pytest.mark.broker
@pytest.mark.slow
def test_page_is_there_again_after_a_restart_by_a_command(browser, tiny_bundle_path, tmp_path, broker, sounds):
    on = (*ON, str(free_port()), "--commands.enabled")
    with Daemon(tiny_bundle_path, tmp_path, broker.port, *on) as daemon:
        open_page(browser, daemon)
        daemon.hear(sounds(16_000, 8.0, coughs=[1.0, 3.0]))
        eventually(lambda: len(rows(browser)) == 2, "two coughs")
        command = json.dumps({"id": "r", "command": "restart"})
        publish.single(f"{BASE}/command", command, qos=1, hostname="127.0.0.1", port=broker.port)
        eventually(lambda: len(daemon.logged("dashboard")) == 2, "the page of the second start")
        daemon.hear(sounds(16_000, 8.0, breaths=[1.0]))
        eventually(lambda: [row[1] for row in rows(browser)] == ["breath"], "the new run's event alone")
        assert daemon.logged("no_dashboard") == []


@pytest.mark.slow
def test_page_finds_a_device_again_that_went_without_a_word(browser, tiny_bundle_path, tmp_path, sounds):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    with Daemon(tiny_bundle_path, first, free_port(), *ON, "0") as daemon, Relay(place_of(daemon)[1]) as relay:
        browser.get(relay.address)
        eventually(lambda: text(browser, "state") == "online", "the state")
        relay.cut()
        with Daemon(tiny_bundle_path, second, free_port(), *ON, "0") as other:
            relay.port = place_of(other)[1]
            other.hear(sounds(16_000, 8.0, breaths=[1.0]))
            eventually(lambda: [row[1] for row in rows(browser)] == ["breath"], "the new run's event")
            assert text(browser, "state") == "online"


def test_page_that_asks_for_a_source_that_is_gone_shows_the_first(browser, tiny_bundle_path, tmp_path, sounds):
    names, port = ("ward", "hall", "yard"), free_port()
    for name in names:
        soundfile.write(tmp_path / f"{name}.wav", sounds(16_000, 90.0), 16_000)

    def configured(*kept: str) -> tuple[str, ...]:
        tables = [f'[[sources]]\nname = "{name}"\nkind = "file"\npath = "{tmp_path}/{name}.wav"\n' for name in kept]
        (tmp_path / "edge.toml").write_text("\n".join(tables))
        return "--source.kind", "microphone", "--config", str(tmp_path / "edge.toml")

    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, str(port), *configured(*names)) as daemon:
        open_page(browser, daemon)
        eventually(lambda: text(browser, "state") == "degraded" or text(browser, "state") == "online", "the state")
        Select(browser.find_element(By.ID, "source")).select_by_value("yard")
        eventually(lambda: "dBFS" in text(browser, "level"), "its sound")
        assert daemon.stop() == 0, daemon.errors()
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, str(port), *configured(*names[:2])) as daemon:
        daemon.wait_for("ready")
        chosen = browser.find_element(By.ID, "source")
        eventually(lambda: chosen.get_attribute("value") == "ward", "the first source")
        eventually(lambda: text(browser, "state") in ("degraded", "online"), "the state")


@contextmanager
def served(board: Board, now: Callable[[], datetime]) -> Iterator[str]:
    """The address of a page of a device without trouble that hears ``a``, with another time of day than the true one
    or sound that takes too long to be heard in a test."""
    status = {"state": "online", "reason": "", "bundle": "", "version": "", "outbox_depth": 0, "lag_s": 0.0}
    shown = {"site": "ward-3", "device": "bed-12", "clock": "synced", "status": status, "is_connected": True}
    shown |= {"sources": [{"name": "a", "trouble": ""}], "labels": {"cough": 0.5}}
    port = free_port()
    end = serve(DashboardSettings(port=port), board, lambda: {**shown, "now": clock.rfc3339(now())}, ["a"])
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        end()


class Autumn(Board):
    """In the night in which an hour is there twice, some minutes after two events, each in one of them."""

    now = clock.parse_rfc3339("2026-10-25T01:30:00Z")

    def day(self, _now: clock.Reading) -> list[dict[str, Any]]:
        counted = [("2026-10-25T00:37:30.000Z", 1), ("2026-10-25T01:22:30.000Z", 2)]
        return [{"at": at, "counts": {"cough": count}, "heard_s": 900.0} for at, count in counted]


def test_hour_that_is_there_twice_is_shown_twice(browser):
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Europe/Berlin"})
    with served(Autumn(Hooks()), lambda: Autumn.now) as address:
        browser.get(address)
        eventually(lambda: text(browser, "hours").split()[:2] == ["cough", "3"], "the counts of the day")
        script = "return [...document.querySelectorAll('.bars > span')].map((bar) => bar.title.split(': ')[1])"
        assert browser.execute_script(script)[-3:] == ["0 cough", "1 cough", "2 cough"]
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})


def test_breathing_rate_of_before_is_not_told_as_that_of_now(browser):
    class Ear:
        name = "a"

    hooks = Hooks()
    with served(Board(hooks), clock.utc_now) as address:
        hooks.respiration(Ear(), {"at": clock.rfc3339(clock.utc_now()), "rate_bpm": 16.0})  # type: ignore[arg-type]
        browser.get(address)
        eventually(lambda: "Breathing rate\n16 a minute" in text(browser, "facts"), "the rate")
        eventually(lambda: "Breathing rate\nunsure" in text(browser, "facts"), "none any more")


def test_recording_that_is_heard_faster_than_it_lasts_is_counted(browser, tiny_bundle_path, tmp_path, sounds):
    sound = np.concatenate([sounds(16_000, 300.0, coughs=[1.0])] * 30)
    soundfile.write(tmp_path / "long.wav", sound, 16_000)
    soundfile.write(tmp_path / "other.wav", sounds(16_000, 90.0), 16_000)
    tables = [
        f'[[sources]]\nname = "{name}"\nkind = "file"\npace = "{pace}"\npath = "{tmp_path}/{name}.wav"\n'
        for name, pace in [("long", "fast"), ("other", "realtime")]
    ]
    (tmp_path / "edge.toml").write_text("\n".join(tables))
    source = ("--source.kind", "microphone", "--config", str(tmp_path / "edge.toml"))
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, "0", *source) as daemon:
        eventually(lambda: len(daemon.logged("event")) == 30, "thirty coughs")
        open_page(browser, daemon)
        eventually(lambda: text(browser, "hours").split()[:2] == ["cough", "30"], "the counts of the day")


def test_trouble_is_shown(browser, tiny_bundle_path, tmp_path):
    source = ("--source.kind", "microphone", "--source.device", "usb-0000:0000-nowhere")
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, "0", *source) as daemon:
        open_page(browser, daemon)
        eventually(lambda: text(browser, "state") == "degraded", "the state")
        eventually(lambda: text(browser, "reason") not in ("", "no sound yet"), "why")
        assert text(browser, "level") == "no sound"


def test_name_of_a_recording_is_shown_as_it_is(browser, tiny_bundle_path, tmp_path, sounds):
    name = "<img src=x onerror=document.title='run'>.wav"
    soundfile.write(tmp_path / name, sounds(16_000, 60.0, coughs=[1.0]), 16_000)
    source = ("--source.kind", "file", "--source.path", str(tmp_path / name))
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, "0", *source) as daemon:
        open_page(browser, daemon)
        eventually(lambda: [row[4] for row in rows(browser)] == [f"file:{name}"], "the name, to be read")
        assert "bed-12" in browser.title
        assert browser.find_elements(By.TAG_NAME, "img") == []


def test_one_of_several_sources_is_chosen(browser, tiny_bundle_path, tmp_path, sounds):
    soundfile.write(tmp_path / "loud.wav", sounds(16_000, 90.0, coughs=list(np.arange(1.0, 80.0, 2.0))), 16_000)
    soundfile.write(tmp_path / "quiet.wav", sounds(16_000, 90.0), 16_000)
    tables = [
        f'[[sources]]\nname = "{name}"\nkind = "file"\npath = "{tmp_path}/{name}.wav"\n' for name in ("quiet", "loud")
    ]
    (tmp_path / "edge.toml").write_text("\n".join(tables))
    source = ("--source.kind", "microphone", "--config", str(tmp_path / "edge.toml"))  # the default
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, "0", *source) as daemon:
        open_page(browser, daemon)
        eventually(lambda: len(rows(browser)) > 1, "coughs of one source")
        assert painted(browser, COUGH) < NAME_PIXELS
        Select(browser.find_element(By.ID, "source")).select_by_value("loud")
        eventually(lambda: painted(browser, COUGH) > NAME_PIXELS, "the scores of the other")


def test_narrow_screen_needs_no_scrolling_sideways(browser, tiny_bundle_path, tmp_path):
    with Daemon(tiny_bundle_path, tmp_path, free_port(), *ON, "0") as daemon:
        browser.set_window_size(500, 900)
        open_page(browser, daemon)
        eventually(lambda: text(browser, "device") == "ward-3 / bed-12", "the page")
        wide, room = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert wide <= room
