"""Clips on disk: FLAC files named by their event, in a folder of their own, within age, bytes and free space.

Does: writes each clip whole, readable by its user alone, in a thread of its own, and removes the oldest. Does not:
decide what may be written (`edge.clips`), or touch a file that is no clip.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import re
import shutil
import threading
import time
from datetime import datetime, timezone
from pathlib import Path

import soundfile
import structlog

from edge.clips import Clip
from edge.errors import ConfigError
from edge.files import DISK_REFUSES, make_private, replace_whole
from edge.sections import ClipSettings

log = structlog.get_logger()

_NAME = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.flac(\.part)?")
_WAITING = 32
"""Most clips that wait for a slow disk; further ones are dropped."""
_PRUNE_S = 600.0
_EARLIEST = datetime(2025, 1, 1, tzinfo=timezone.utc).timestamp()
"""Unix time before which no clip was written: a clock that says so was not set."""
_PROBE_BYTES = 4096
_RETRY_S = 10.0
"""While a disk takes no clips, whether it does again is tried so often: the next clip may be hours away."""


class ClipStore:
    """Owns the folder and the thread that writes to it."""

    def __init__(self, folder: Path, settings: ClipSettings) -> None:
        """Make the folder, or take an existing one with its clips.

        A disk that takes no writes is no error: it is told in the log and in `trouble`, and clips are dropped.

        Raises:
            ConfigError: it cannot be written, or others may enter it.
        """
        self.written = 0
        self.dropped = 0
        """Clips that the disk did not take."""
        self.trouble = ""
        """Why clips are dropped now; empty while they are not."""
        self._refused_bytes = 0
        self._not_removed: str | None = ""
        """Why clips could not be removed when that was last told."""
        self._folder = folder
        self._settings = settings
        self._waiting: queue.Queue[Clip | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="clips", daemon=True)
        try:
            make_private(folder)
            mode = folder.stat().st_mode & 0o777
            if mode & 0o077:
                raise ConfigError(f"clips.folder: {folder}: others may enter it (mode {mode:o}); chmod 700 {folder}")
            self._probe()
            for _, _, path in self._clips():
                if path.suffix == ".part":  # a loss of power has left it
                    path.unlink()
        except OSError as error:
            if error.errno not in DISK_REFUSES:
                raise ConfigError(f"clips.folder: {folder}: cannot be written: {error.strerror}") from error
            self._tell(error.strerror or str(error))
        self._thread.start()

    def put(self, clip: Clip) -> None:
        """Write a clip in the background, or drop it; does not wait."""
        try:
            self._waiting.put_nowait(clip)
        except queue.Full:
            self._drop("the disk is too slow")

    def close(self, timeout_s: float) -> None:
        """Write what waits, for so long at most."""
        deadline = time.monotonic() + timeout_s
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._waiting.put(None, timeout=max(0.0, deadline - time.monotonic()))
            except queue.Full:
                return
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self) -> None:
        self._prune(0)
        while True:
            try:
                clip = self._waiting.get(timeout=_RETRY_S if self.trouble else _PRUNE_S)
            except queue.Empty:
                self._look_after()
                continue
            if clip is None:
                return
            self._write(clip)

    def _write(self, clip: Clip) -> None:
        try:
            content = encode(clip)
            self._refused_bytes = len(content)  # until it is written
            make_private(self._folder)  # which a disk may have refused until now
            if self._prune(len(content)):
                replace_whole(self._folder / f"{clip.event_id}.flac", content)
                self.written += 1
                self._recover()
            else:
                self._drop(f"less than clips.min_free_mb = {self._settings.min_free_mb:g} is free")
        except (OSError, soundfile.SoundFileError) as error:
            self._drop(getattr(error, "strerror", None) or str(error))

    def _look_after(self) -> None:
        """Remove what is too old, and see whether a disk that took no clip would take that one now."""
        has_room = self._prune(self._refused_bytes)
        if not self.trouble or not has_room:
            return
        with contextlib.suppress(OSError):  # the trouble is what it was
            make_private(self._folder)
            self._probe()
            self._recover()

    def _recover(self) -> None:
        if self.trouble:
            log.info("clips_written_again", folder=str(self._folder))
        self.trouble, self._refused_bytes = "", 0

    def _probe(self) -> None:
        """Write a file and remove it.

        Raises:
            OSError: the disk does not take it.
        """
        probe = self._folder / ".writable"
        try:
            replace_whole(probe, bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        self._tell(reason)

    def _tell(self, reason: str) -> None:
        if reason != self.trouble:
            log.warning("clips_dropped", folder=str(self._folder), reason=reason, action="free the disk; events go on")
        self.trouble = reason

    def _prune(self, coming: int) -> bool:
        """Make room for so many bytes by removing the oldest clips; whether there is room then."""
        try:
            clips = self._clips()
            total = sum(size for _, size, _ in clips)
            oldest = time.time() - self._settings.max_age_days * 86_400
            clips = sorted(_dated(*clip) for clip in clips)
            limit = self._settings.max_mb * 1e6
            for at, size, path in clips:
                if at >= oldest and total + coming <= limit and self._has_room(coming):
                    break
                path.unlink(missing_ok=True)
                total -= size
            return total + coming <= limit and self._has_room(coming)
        except OSError as error:
            if error.strerror != self._not_removed:
                log.warning("clips_not_removed", folder=str(self._folder), reason=error.strerror)
            self._not_removed = error.strerror
            return False

    def _has_room(self, coming: int) -> bool:
        return shutil.disk_usage(self._folder).free - coming >= self._settings.min_free_mb * 1e6

    def _clips(self) -> list[tuple[float, int, Path]]:
        """Time in Unix seconds, bytes and path of every clip, half written ones too, the oldest first."""
        with os.scandir(self._folder) as entries:
            found = [entry for entry in entries if _NAME.fullmatch(entry.name)]
            marks = [(entry.stat(follow_symlinks=False), Path(entry.path)) for entry in found]
        return sorted((status.st_mtime, status.st_size, path) for status, path in marks)


def _dated(at: float, size: int, path: Path) -> tuple[float, int, Path]:
    """A clip as it was listed; one that was written before the clock was set counts from then on."""
    if not at < _EARLIEST <= time.time():
        return at, size, path
    os.utime(path)
    return time.time(), size, path


def encode(clip: Clip) -> bytes:
    """A clip as a FLAC file of 16 bits, which loses nothing of it."""
    stream = io.BytesIO()
    soundfile.write(stream, clip.samples, clip.sample_rate_hz, format="FLAC", subtype="PCM_16")
    return stream.getvalue()
