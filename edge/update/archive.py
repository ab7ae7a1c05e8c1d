"""A bundle as one `.tar` file: packed the same way every time, and unpacked with nothing taken on trust.

Does: writes an archive whose bytes depend on the bundle alone; takes out plain files of one flat folder and refuses
everything else that an archive can hold. Does not: say whether the bundle is any good (`edge.bundle` and
`edge.update.trial` do).
"""

from __future__ import annotations

import io
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from edge.errors import UpdateError, first_line
from edge.files import open_private, sync_folder

MAX_FILES = 64
"""More than any bundle has; an archive of a million empty files would fill the table of files of a small disk."""

_MAX_EXTENSION_BYTES = 16_384
"""Of a pax header, which `tarfile` reads into memory: times and attributes of one file."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONTENT = (tarfile.REGTYPE, tarfile.AREGTYPE)
_REFUSED = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
    tarfile.GNUTYPE_LONGNAME: "a name longer than any of a bundle",
    tarfile.GNUTYPE_LONGLINK: "a link",
    tarfile.XGLTYPE: "a header for all files",
}
_SPARSE = b"GNU.sparse"
"""In the records of a sparse file, which `tarfile` follows, however many holes they tell of, before it hands it out."""
_CHANGES_MEANING = ("path", "linkpath", "size", "hdrcharset", "GNU.sparse")
"""Pax records, by how they begin, that make of a member something else than its header says."""


def pack(folder: Path, archive: Path) -> Path:
    """Write the files of a bundle's folder into one `.tar`; the bytes depend on names and contents alone.

    Returns `archive`, which is whole or not there at all.

    Raises:
        UpdateError: the folder holds something else than files, or one of the two cannot be read or written.
    """
    part = archive.with_name(archive.name + ".part")
    try:
        paths = sorted(folder.iterdir())
        with part.open("wb") as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in paths:
                if path.is_symlink() or not path.is_file() or not _NAME.fullmatch(path.name):
                    raise UpdateError(f"{path}: is no file of a bundle; move it away")
                content = path.read_bytes()
                member = tarfile.TarInfo(path.name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        part.replace(archive)
    except OSError as error:
        raise UpdateError(f"{folder}: cannot be packed as {archive}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return archive


def unpack(archive: Path, folder: Path, *, max_bytes: int) -> None:
    """Write the files of an archive into a new folder.

    The archive is an uncompressed `.tar` of plain files, either at its top or all in one folder. Owners, modes and
    times are not taken over. What was written before a refusal stays in `folder`, which the caller removes.

    Args:
        archive: a file that nobody else writes to.
        folder: does not exist yet.
        max_bytes: most bytes of all files together.

    Raises:
        UpdateError: the archive holds anything else, is larger, or is damaged; or the disk cannot be written.
    """
    try:
        with archive.open("rb") as stream:
            for header in _headers(stream):
                _check(header)
            stream.seek(0)
            folder.mkdir(mode=0o700)
            with tarfile.open(fileobj=stream, mode="r:") as tar:
                _extract(tar, folder, max_bytes)
        _check_compressed(folder, max_bytes)
        sync_folder(folder)
    except UpdateError:
        raise
    except (tarfile.TarError, ValueError) as error:  # tarfile takes some numbers for what they say
        raise UpdateError(f"the archive is no .tar file, or a damaged one: {first_line(error)}") from error
    except OSError as error:
        raise UpdateError(f"the archive cannot be unpacked in {folder.parent}: {error.strerror}") from error


def _headers(stream: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Every header as it stands in the file, before `tarfile` follows what extensions say of it.

    Without this, a chain of extensions recurses through `tarfile` as deep as an archive is long.
    """
    end = stream.seek(0, os.SEEK_END)
    at = 0
    extended = False
    while True:
        stream.seek(at)
        block = stream.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE:
            raise UpdateError("the archive is cut short" if at else "the archive is no .tar file")
        if not block.strip(tarfile.NUL):
            return
        header = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        at += tarfile.BLOCKSIZE * (1 - (-header.size // tarfile.BLOCKSIZE))
        if header.size < 0 or at > end:
            raise UpdateError(f"the archive is cut short within {_shown(header)}")
        if header.type == tarfile.XHDTYPE:
            if extended or header.size > _MAX_EXTENSION_BYTES:
                raise UpdateError(f"the archive holds {_shown(header)} with headers longer than any of a bundle")
            if _SPARSE in stream.read(header.size):
                raise UpdateError(f"the archive holds {_shown(header)} with headers that no bundle needs")
            extended = True
            continue
        extended = False
        yield header


def _check(header: tarfile.TarInfo) -> None:
    if header.type == tarfile.DIRTYPE and header.size:
        # `tarfile` would take what stands there for further headers, which nobody has looked at.
        raise UpdateError(f"the archive holds {_shown(header)}, a folder with content")
    if header.type in _CONTENT or header.type == tarfile.DIRTYPE:
        return
    kind = _REFUSED.get(header.type, "of an unknown kind")
    raise UpdateError(f"the archive holds {_shown(header)}, {kind}; a bundle is plain files")


def _extract(tar: tarfile.TarFile, folder: Path, max_bytes: int) -> None:
    tops: set[str] = set()
    names: set[str] = set()
    written = 0
    for member in tar:
        if member.issparse() or any(key.startswith(_CHANGES_MEANING) for key in member.pax_headers):
            raise UpdateError(f"the archive holds {_shown(member)} with headers that no bundle needs")
        _check(member)
        top, name = _place(member)
        tops.add(top)
        if len(tops) > 1:
            raise UpdateError(f"the archive holds {_shown(member)} in a second folder; a bundle is one folder")
        if member.isdir():
            continue
        if name in names:
            raise UpdateError(f"the archive holds {_shown(member)} twice")
        names.add(name)
        written += member.size
        if len(names) > MAX_FILES:
            raise UpdateError(f"the archive holds more than {MAX_FILES} files")
        if written > max_bytes:
            raise UpdateError(f"the archive holds more than update.max_mb = {max_bytes / 1e6:g}")
        _write(tar, member, folder / name)


def _place(member: tarfile.TarInfo) -> tuple[str, str]:
    """Folder within the archive, empty at its top, and name of a file; the name is empty for the folder itself."""
    parts = member.name.split("/")
    if parts[0] == "" or ".." in parts:
        raise UpdateError(f"the archive holds {_shown(member)}, which lies outside of it")
    if parts[0] == ".":
        parts = parts[1:]
    folders, name = (parts, "") if member.isdir() else (parts[:-1], "".join(parts[-1:]))
    if len(folders) > 1:
        raise UpdateError(f"the archive holds {_shown(member)}, too deep; a bundle is one flat folder")
    if not all(_NAME.fullmatch(part) for part in (folders if member.isdir() else [*folders, name])):
        raise UpdateError(f"the archive holds {_shown(member)}, which is no name of a bundle's file")
    return "".join(folders), name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise UpdateError(f"the archive holds {_shown(member)} without content")
    with content, open_private(path, new=True) as file:
        shutil.copyfileobj(content, file)
        file.flush()
        os.fsync(file.fileno())


def _check_compressed(folder: Path, max_bytes: int) -> None:
    """An array file is a zip: it must not grow beyond the limit when it is read either."""
    for path in folder.glob("*.npz"):
        try:
            with zipfile.ZipFile(path) as arrays:
                size = sum(entry.file_size for entry in arrays.infolist())
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise UpdateError(f"{path.name} in the archive is no array file: {first_line(error)}") from error
        if size > max_bytes:
            raise UpdateError(f"{path.name} in the archive grows to more than update.max_mb = {max_bytes / 1e6:g}")


def _shown(member: tarfile.TarInfo) -> str:
    """A member's name for one line of a log, whatever it holds."""
    text = ascii(member.name)
    return text if len(text) <= 80 else text[:76] + "...'"
