"""The trial of a new bundle: what it hears, and that one which dies, hangs or is too slow is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edge.errors import UpdateError
from edge.hooks import Hooks
from edge.sources.base import Block
from edge.update import trial as trial_module
from edge.update.recent import RecentSound, Sound
from edge.update.trial import is_too_slow
from tests.updates import archive_of, refuse, settings


@pytest.mark.parametrize(
    ("does", "told"),
    [
        ("kill -9 $$", "trial: the process that ran the bundle ended with signal 9: it said nothing"),
        ("echo Bus error >&2; exit 3", "trial: the process that ran the bundle ended with status 3: Bus error"),
        ("exec sleep 600", "trial: not over after 0.5 s; the bundle hangs or is too slow"),
    ],
)
def test_bundle_whose_process_dies_or_hangs_in_its_trial_is_refused(
    tiny_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, told: str
) -> None:
    dying = tmp_path / "dying"
    dying.write_text(f"#!/bin/sh\n{does}\n")
    dying.chmod(0o700)
    monkeypatch.setattr(trial_module.sys, "executable", str(dying))
    if "sleep" in does:
        monkeypatch.setattr(trial_module, "TIMEOUT_S", 0.5)
    refuse(settings(tiny_bundle_path, tmp_path / "state"), archive_of(tiny_bundle_path, tmp_path), told)


@pytest.mark.parametrize("channels", [1, 2])
def test_trial_hears_this_room_too(tiny_bundle_path: Path, tmp_path: Path, channels: int) -> None:
    device = settings(tiny_bundle_path, tmp_path / "state")
    alone = trial_module.run_trial(tiny_bundle_path, device, threading.Event())
    sound = Sound(np.full((48_000 * 5, channels), 0.1, np.float32), 48_000)
    # Windows of 2 s every 0.5 s of 5 s.
    assert trial_module.run_trial(tiny_bundle_path, device, threading.Event(), sound).windows == alone.windows + 7


def test_newest_seconds_of_the_first_listener_are_what_a_trial_hears() -> None:
    hooks = Hooks()
    recent = RecentSound(hooks)
    assert recent.take() is None
    first: Any = SimpleNamespace(name="bed-1", source=SimpleNamespace(sample_rate_hz=100))
    second: Any = SimpleNamespace(name="bed-2", source=SimpleNamespace(sample_rate_hz=100))
    for second_s in range(30):
        hooks.block(first, Block(second_s * 100, np.full((100, 2), second_s, np.float32)))
        hooks.block(second, Block(second_s * 100, np.full((100, 1), 99, np.float32)))
    sound = recent.take()
    assert sound is not None
    assert (sound.samples.shape, sound.sample_rate_hz) == ((2000, 2), 100)
    assert sound.samples[:, 0].tolist() == [float(second_s) for second_s in range(10, 30) for _ in range(100)]


def test_trial_is_given_up_when_the_daemon_stops(tiny_bundle_path: Path, tmp_path: Path) -> None:
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(UpdateError, match="trial: given up, because the daemon stops"):
        trial_module.run_trial(tiny_bundle_path, settings(tiny_bundle_path, tmp_path / "state"), stopping)


@pytest.mark.parametrize(
    ("times_s", "slow"), [([0.1] * 10, False), ([0.3] * 10, True), ([0.3] * 9, False), ([0.1] * 10 + [9.0], False)]
)
def test_bundle_is_too_slow_when_most_windows_take_more_than_half_a_hop(times_s: list[float], slow: bool) -> None:
    assert is_too_slow(times_s, hop_s=0.5) == slow
