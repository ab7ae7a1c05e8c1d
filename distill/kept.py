"""Arrays of views on disk: made once, one file a view number, read from a memory map.

A file is written whole; a stopped run goes on with the first that is missing. The folder's name is a hash of all that
the arrays depend on, so that those of another teacher or front-end are never taken for these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.files import write_whole, writing_whole
from edge.errors import UserError

ORIGIN = "origin.json"


class Kept:
    """Arrays (views, recordings, ...) float16, not in memory until they are asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        """Map the files of `keep`.

        Raises:
            UserError: one is damaged.
        """
        self._maps = [_mapped(file) for file in files]

    def __getitem__(self, view: int) -> NDArray[np.float16]:
        """(recordings, ...) of a view number, mapped."""
        return self._maps[view]

    @property
    def views(self) -> int:
        """How many there are of each recording."""
        return len(self._maps)


def keep(
    cache: Path,
    origin: Mapping[str, Any],
    count: int,
    make: Callable[[list[int]], Iterator[NDArray[np.float16]]],
) -> list[Path]:
    """The files of `count` views, made where they are missing.

    Args:
        cache: folder of the folders of all origins.
        origin: all that the arrays depend on, but for the view's number, as JSON values.
        count: of views.
        make: gives the arrays of the view numbers that it is asked for, in turn.

    Raises:
        UserError: the cache cannot be written, or an array holds a value that is not finite.
    """
    text = json.dumps(origin, indent=2, sort_keys=True)
    folder = cache / hashlib.sha256(text.encode()).hexdigest()[:32]
    files = [folder / f"view-{number:05d}.npy" for number in range(count)]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    if not missing:
        return files
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / ORIGIN, text)
        for number, array in zip(missing, make(missing), strict=True):
            if not np.isfinite(array).all():
                raise UserError(f"{files[number]}: not written, a value of it is not finite; look at the teacher")
            with writing_whole(files[number]) as stream:
                np.save(stream, array)
    except OSError as error:
        why = f"cannot be written ({error.strerror or error})"
        raise UserError(f"{folder}: {why}; free some space or name another --views.cache") from error
    return files


def _mapped(file: Path) -> NDArray[np.float16]:
    try:
        return np.asanyarray(np.load(file, mmap_mode="r", allow_pickle=False), dtype=np.float16)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: damaged; delete it and run again: it is made anew") from error
