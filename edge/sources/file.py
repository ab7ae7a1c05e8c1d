"""A sound file as a source: everything libsndfile reads (WAV, FLAC, Ogg, MP3, ...), fast or in real time."""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
import structlog
from numpy.typing import NDArray

from edge.errors import AudioError
from edge.sources.base import HIGHEST_RATE_HZ, LARGEST_SAMPLE, LOWEST_RATE_HZ, Block

log = structlog.get_logger()


class FileSource:
    """One file from start to end. Owns the file handle."""

    def __init__(self, path: Path | str, *, pace: Literal["realtime", "fast"] = "fast", block_s: float = 0.5) -> None:
        """Open the file. Raises AudioError when it is missing, empty, not audio or out of the supported rates.

        pace: `realtime` yields a block when its last sample would have been recorded.
        """
        self._path = Path(path)
        self._pace = pace
        self._file = _open(self._path)
        self.name = f"file:{legible(self._path)}"
        self.trouble = ""
        self.sample_rate_hz: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.duration_s: float = self._file.frames / self.sample_rate_hz
        self._block_frames = max(1, round(block_s * self.sample_rate_hz))
        self._closed = threading.Event()
        self._lock = threading.Lock()  # libsndfile must not close under a read in another thread

    def blocks(self) -> Iterator[Block]:
        """Blocks of `block_s`. AudioError, with file and second, at a sample that is no number or data that is damaged.

        What lies before the fault is yielded first.
        """
        begun = time.monotonic()
        position = 0
        while len(samples := self._read(position)):
            bad = _first_bad(samples)
            good = samples if bad is None else samples[:bad]
            good.flags.writeable = False
            if self._pace == "realtime":
                due = begun + (position + len(good)) / self.sample_rate_hz
                if self._closed.wait(max(0.0, due - time.monotonic())):
                    return
            if len(good):
                yield Block(position, good)
            position += len(good)
            if bad is not None:
                value = samples[bad][~_usable(samples[bad])][0]
                remedy = "full scale is 1: scale the file to [-1, 1]" if np.isfinite(value) else "repair the file"
                raise AudioError(f"{self._path}: the sample at {self._second(position)} is {value:g}: {remedy}")
        if not self._closed.is_set() and position < round(self.duration_s * self.sample_rate_hz):
            log.warning(
                "file_ends_early", path=str(self._path), header_s=self.duration_s, read_s=self._second(position)
            )

    def close(self) -> None:
        """Close the file and end a running `blocks`."""
        self._closed.set()
        with self._lock:
            self._file.close()

    def _read(self, position: int) -> NDArray[np.float32]:
        with self._lock:
            if self._closed.is_set():
                return np.empty((0, self.channels), np.float32)
            try:
                samples: NDArray[np.float32] = self._file.read(self._block_frames, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, OSError) as error:
                raise AudioError(f"{self._path}: unreadable after {self._second(position)}: {_line(error)}") from error
        return samples

    def _second(self, position: int) -> str:
        return f"{position / self.sample_rate_hz:.3f} s"


def legible(path: Path) -> str:
    """The last part of a path as text that any reader takes: file names may be bytes that are no UTF-8."""
    return os.fsencode(path.name).decode(errors="replace")


def _open(path: Path) -> soundfile.SoundFile:
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioError(f"{path}: a folder, not a sound file")
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path}: no regular file: feed raw samples to standard input, with source.kind stdin")
        if status.st_size == 0:
            raise AudioError(f"{path}: the file is empty (0 bytes)")
        with path.open("rb"):
            pass  # libsndfile tells a missing permission as "System error."
        file = soundfile.SoundFile(os.fsencode(path))  # soundfile itself fails on a name that is not UTF-8
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file") from error
    except (soundfile.LibsndfileError, TypeError) as error:  # a TypeError for raw samples, of which nothing is known
        hint = "convert it to WAV or FLAC, for example with ffmpeg"
        raise AudioError(f"{path}: not a sound file that can be read ({_line(error)}): {hint}") from error
    except OSError as error:
        raise AudioError(f"{path}: cannot be opened: {error.strerror}") from error
    problem = ""
    if not LOWEST_RATE_HZ <= file.samplerate <= HIGHEST_RATE_HZ:
        problem = f"{file.samplerate} Hz is outside the supported {LOWEST_RATE_HZ} to {HIGHEST_RATE_HZ} Hz"
    elif file.frames == 0:
        problem = "the file holds no sound (a header and 0 samples)"
    if problem:
        file.close()
        raise AudioError(f"{path}: {problem}")
    return file


def _usable(samples: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.abs(samples) <= LARGEST_SAMPLE  # False for NaN


def _first_bad(samples: NDArray[np.float32]) -> int | None:
    """The first frame with an unusable sample in any channel."""
    if np.abs(samples).max() <= LARGEST_SAMPLE:  # the maximum of anything with a NaN is NaN
        return None
    return int(np.argmin(_usable(samples).all(axis=1)))


def _line(error: Exception) -> str:
    text = error.error_string if isinstance(error, soundfile.LibsndfileError) else str(error)
    return str(text).strip().rstrip(".")
