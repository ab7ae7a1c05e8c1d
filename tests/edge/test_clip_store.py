"""Clips on disk: whole, private, named by their event, and never more than the limits allow."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from uuid6 import uuid7

from edge.clip_store import ClipStore
from edge.clips import Clip
from edge.errors import ConfigError
from edge.sections import ClipSettings
from tests.brokers import eventually


def clip(seconds: float = 0.5, event_id: str = "") -> Clip:
    samples = np.random.default_rng(1).integers(-3000, 3000, round(16_000 * seconds)).astype(np.int16)
    return Clip(event_id or str(uuid7()), samples, 16_000)


@contextmanager
def store(folder: Path, **settings: Any) -> Iterator[ClipStore]:
    opened = ClipStore(folder, ClipSettings(enabled=True, **({"min_free_mb": 1.0} | settings)))
    yield opened
    opened.close(60)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_clip_is_a_private_flac_file_named_by_its_event(tmp_path: Path) -> None:
    kept = clip()
    with store(tmp_path / "clips") as opened:
        opened.put(kept)
    assert files(tmp_path / "clips") == [f"{kept.event_id}.flac"]
    path = tmp_path / "clips" / f"{kept.event_id}.flac"
    samples, rate_hz = soundfile.read(path, dtype="int16")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(samples, kept.samples)
    assert soundfile.info(path).format == "FLAC"
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (opened.written, opened.dropped, opened.trouble) == (1, 0, "")


def test_clips_beyond_their_age_are_removed_and_nothing_else_ever_is(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir(mode=0o700)
    (folder / "notes.txt").write_text("keep")
    (folder / "old.flac").write_text("keep: not named as a clip")
    old, young = str(uuid7()), str(uuid7())
    for event_id, age_days in ((old, 2.0), (young, 0.5)):
        (folder / f"{event_id}.flac").write_bytes(b"x")
        at = time.time() - age_days * 86_400
        os.utime(folder / f"{event_id}.flac", (at, at))
    (folder / f"{uuid7()}.flac.part").write_bytes(b"x")
    with store(folder, max_age_days=1.0):
        eventually(lambda: not (folder / f"{old}.flac").exists(), "the removal")
    assert files(folder) == sorted([f"{young}.flac", "notes.txt", "old.flac"])


def test_clip_of_before_the_clock_was_set_counts_from_then_on(tmp_path: Path) -> None:
    """A board without a battery begins in 1970; its clips are not half a century old."""
    folder = tmp_path / "clips"
    folder.mkdir(mode=0o700)
    early, old = str(uuid7()), str(uuid7())
    for event_id, at in ((early, 60.0), (old, time.time() - 2.0 * 86_400)):
        (folder / f"{event_id}.flac").write_bytes(b"x")
        os.utime(folder / f"{event_id}.flac", (at, at))
    with store(folder, max_age_days=1.0):
        eventually(lambda: not (folder / f"{old}.flac").exists(), "the removal")
    assert files(folder) == [f"{early}.flac"]
    assert time.time() - (folder / f"{early}.flac").stat().st_mtime < 3600.0


def test_oldest_clips_make_room_for_new_ones(tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    clips = [clip(20.0) for _ in range(4)]  # about 0.5 MB each
    with store(folder, max_mb=1.2) as opened:
        for number, each in enumerate(clips):
            opened.put(each)
            eventually(lambda count=number + 1: opened.written == count, "the clip")  # type: ignore[misc]
            os.utime(folder / f"{each.event_id}.flac", (number + time.time() - 100,) * 2)
    assert files(folder) == [f"{each.event_id}.flac" for each in clips[2:]]


def test_disk_with_too_little_free_drops_and_counts_clips(tmp_path: Path, logs: list[Any]) -> None:
    with store(tmp_path / "clips", min_free_mb=1_000_000.0) as opened:
        for _ in range(3):
            opened.put(clip())
    assert (opened.written, opened.dropped) == (0, 3)
    assert opened.trouble == "less than clips.min_free_mb = 1e+06 is free"
    assert [entry["event"] for entry in logs] == ["clips_dropped"]
    assert files(tmp_path / "clips") == []


def test_clip_that_the_disk_does_not_take_is_dropped_and_the_next_one_written(tmp_path: Path, logs: list[Any]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with store(tmp_path / "clips") as opened:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            opened.put(clip())
            eventually(lambda: opened.dropped == 1, "the failure")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert opened.trouble == "File too large"
        assert files(tmp_path / "clips") == []
        opened.put(clip())
        eventually(lambda: opened.written == 1, "the next clip")
        assert opened.trouble == ""


def test_trouble_ends_when_the_disk_takes_clips_again_without_waiting_for_one(
    tmp_path: Path, logs: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.clip_store._RETRY_S", 0.05)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with store(tmp_path / "clips") as opened:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
        try:
            opened.put(clip())
            eventually(lambda: opened.trouble == "File too large", "the failure")
            time.sleep(0.3)
            assert opened.trouble == "File too large"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        eventually(lambda: opened.trouble == "", "the end of the trouble")
    assert [entry["event"] for entry in logs] == ["clips_dropped", "clips_written_again"]
    assert files(tmp_path / "clips") == []


def test_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir(mode=0o755)
    (tmp_path / "clips").chmod(0o755)
    with pytest.raises(ConfigError, match=r"others may enter it \(mode 755\); chmod 700"):
        ClipStore(tmp_path / "clips", ClipSettings(enabled=True))


def test_folder_that_cannot_be_written_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"clips.folder: /proc/clips: cannot be written: "):
        ClipStore(Path("/proc/clips"), ClipSettings(enabled=True))
