"""A folder of recordings as one source: one after the other in the order of their names, with a gap between them.

Does: joins the files that lie in the folder when it is opened, at the rate of the first. Does not: look into folders
below it, or wait for new files.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import soundfile
import structlog

from edge.errors import AudioError
from edge.sources.base import Block
from edge.sources.decoding import ChildError, Sound
from edge.sources.file import FileSource, legible
from edge.sources.timeline import Timeline

log = structlog.get_logger()

GAP_S = 1.0
"""Between two recordings, so that nothing is heard across their border."""

_SUFFIXES = frozenset(f".{name.lower()}" for name in soundfile.available_formats()) | {".aif", ".oga", ".opus"}


class FolderSource:
    """Mono sound of all recordings in a folder. Owns the file that is being read."""

    def __init__(
        self, path: Path | str, *, channel: int = 0, pace: Literal["realtime", "fast"] = "fast", block_s: float = 0.5
    ) -> None:
        """List the folder. Raises AudioError when it is missing or holds no recording that can be used.

        channel: the only one to hear, counted from 1; 0: the mean of all.
        """
        self._path = Path(path)
        self._pace: Literal["realtime", "fast"] = pace
        self._block_s = block_s
        self._files = _recordings(self._path)
        self._timeline = Timeline(channel)
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._current: FileSource | None = None
        self.name = f"folder:{legible(self._path.resolve())}"
        self.trouble = ""
        self.channels = 1
        self.sample_rate_hz = self._first_rate()

    def blocks(self) -> Iterator[Block]:
        """Blocks of all files. A file that cannot be used is logged and left out, or broken off where it is damaged."""
        heard = 0
        for file in self._files:
            if heard and self._pace == "realtime" and self._closed.wait(GAP_S):
                return
            for block in self._hear(file):
                heard += 1
                yield block
            if self._closed.is_set():
                return
        if not heard:
            raise AudioError(f"{self._path}: none of its {len(self._files)} recordings could be used; see the log")

    def close(self) -> None:
        """Close the file that is being read and end a running `blocks`."""
        self._closed.set()
        with self._guard:
            if self._current is not None:
                self._current.close()

    def _hear(self, file: Path) -> Iterator[Block]:
        try:
            with self._guard:
                if self._closed.is_set():
                    return
                self._current = source = FileSource(file, pace=self._pace, block_s=self._block_s)
            for block in source.blocks():
                placed = self._timeline.place(Sound(block.position, block.samples), source.sample_rate_hz)
                # The rate of the first sound that could be used, which need not be that of the first file.
                self.sample_rate_hz = self._timeline.rate_hz
                yield from placed
        except (AudioError, ChildError) as error:
            log.warning("recording_left_out", file=str(file), reason=str(error))
        finally:
            if self._current is not None:
                self._current.close()
        yield from self._timeline.restart(GAP_S)

    def _first_rate(self) -> int:
        fault = AudioError("")
        for file in self._files:
            try:
                source = FileSource(file)
            except AudioError as error:
                fault = error
                continue
            source.close()
            return source.sample_rate_hz
        raise fault


def _recordings(folder: Path) -> list[Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _SUFFIXES and file.is_file())
    except FileNotFoundError as error:
        raise AudioError(f"{folder}: no such folder") from error
    except NotADirectoryError as error:
        raise AudioError(f"{folder}: a file, not a folder: set source.kind to file") from error
    except OSError as error:
        raise AudioError(f"{folder}: cannot be read: {error.strerror}") from error
    if not files:
        raise AudioError(f"{folder}: holds no recording (looked for {', '.join(sorted(_SUFFIXES))})")
    return files
