"""Files that are on disk whole or not at all: written beside their place, and moved there once they are complete.

And, of those that a program is given, whether they are there and what they are called in its tables.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edge.errors import ConfigError


@contextmanager
def writing_whole(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content becomes the file when the block ends; if the block fails, the file is what it was.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        # Where the folder is none there is nothing to remove, and the error on its way is the one to tell.
        with suppress(OSError):
            part.unlink()


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that it holds either all of `content`, text as UTF-8, or what it held before.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    with writing_whole(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def relative(path: Path, root: Path) -> str:
    """A file's path below `root`, so that it says the same on every machine; one that is elsewhere as it is."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def refuse_absent(path: Path, hint: str) -> None:
    """Stop if there is no such file or folder; `hint` tells what to give, and ends the line.

    Raises:
        ConfigError: that is so.
    """
    if not path.exists():
        raise ConfigError(f"{path}: no such file; {hint}")
