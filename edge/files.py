"""Files and folders of the device: whole or not there at all, and readable by their user alone.

Does: makes private folders, writes files that a loss of power cannot leave half written, and hands what root makes in
another user's folder to that user. Does not: know what is in them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

DISK_REFUSES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What passes, or is to be repaired, while the daemon goes on; any other error is a path that cannot be right."""


def make_private(folder: Path) -> None:
    """Make a folder, where it is missing, that its user alone can enter; root makes it for whom its parent belongs to.

    A service's state folder belongs to the service's user, who must be able to use what root makes in it by hand.

    Raises:
        OSError: it cannot be made.
    """
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_to_owner_of(folder.parent, folder)


def replace_whole(path: Path, content: bytes) -> None:
    """Write a file so that it holds, also after a loss of power, either all of `content` or what it held before.

    Raises:
        OSError: the disk is full or cannot be written.
    """
    write_whole(path, lambda stream: stream.write(content))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a stream that becomes the file, with mode 0600, once it is complete and on the disk.

    Raises:
        OSError: the disk is full or cannot be written; the file is then what it was.
    """
    part = path.with_name(path.name + ".part")
    try:
        with open_private(part) as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        give_to_owner_of(path.parent, part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)


def open_private(path: Path, *, new: bool = False) -> BinaryIO:
    """Open a file for writing, empty, with mode 0600 and following no link; `new`: it must not exist yet.

    Raises:
        OSError: it cannot be opened.
    """
    how = os.O_EXCL if new else os.O_TRUNC
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | how | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "w+b")


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, so that a rename survives a loss of power.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_to_owner_of(example: Path, path: Path) -> None:
    """Where root works in another user's folder, make a file, or a folder with its files, that user's.

    Raises:
        OSError: it cannot be changed.
    """
    owner = example.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    for each in [path, *(path.iterdir() if path.is_dir() else ())]:
        os.chown(each, owner.st_uid, owner.st_gid, follow_symlinks=False)
