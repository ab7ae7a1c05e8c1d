"""Embeddings on disk, of one teacher a folder.

Each batch is a safetensors file of its own, which is written beside its place, moved there when all of it is on disk,
and never changed. So a kill costs the batch under way, and a reader needs no lock. A file is named by a hash of its
teacher and its content: what a bad disk has altered, or what was copied from another teacher's folder, is found out
and refused. One process writes at a time; another waits, and then finds the work done.

Tensors of a file: `embeddings` (n, width) float32, `texts` (n, 32) uint8, the SHA-256 of each text, and `lost` (n,)
int32, the tokens that were cut off. Whether the teacher read in bfloat16 or in float32 does not make it another one: a
cache that was begun on a GPU is continued on a CPU.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from align.files import write_whole
from align.teacher.errors import TeacherError

SUFFIX = ".safetensors"


class Embedded(NamedTuple):
    """What is kept of a text."""

    vector: NDArray[np.float32]
    """(width,)."""
    lost: int
    """Tokens that were cut off its end."""


class EmbeddingCache:
    """The embeddings of some texts, as far as they are known; reads and writes one teacher's folder."""

    def __init__(self, root: Path, teacher: Mapping[str, object], wanted: Collection[bytes]) -> None:
        """Read what is on disk.

        Args:
            root: the folder of all teachers' folders; need not exist.
            teacher: all that makes an embedding what it is, but for the text.
            wanted: digests of texts; those of others on disk are passed over.

        Raises:
            TeacherError: a file is damaged or cannot be read.
        """
        self._teacher = json.dumps(teacher, sort_keys=True)
        self.folder = root / hashlib.sha256(self._teacher.encode()).hexdigest()[:32]
        self.rows: dict[bytes, Embedded] = {}
        self._wanted = wanted
        self._width = 0
        self._read: set[str] = set()
        self._read_new()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one process that writes; what another one wrote in the meantime is read first.

        Raises:
            TeacherError: the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            self._acquire(lock)
            self._read_new()
            yield
        finally:
            os.close(lock)

    def add(self, texts: Sequence[bytes], vectors: NDArray[np.float32], lost: Sequence[int]) -> None:
        """Keep a batch; it is on the disk when this returns.

        Args:
            texts: digests.
            vectors: (len(texts), width).
            lost: tokens that were cut off each.

        Raises:
            TeacherError: the disk is full or fails, and nothing of the batch is kept; or the width is another.
        """
        tensors: dict[str, NDArray[np.generic]] = {
            "embeddings": np.ascontiguousarray(vectors),
            "texts": np.frombuffer(b"".join(texts), np.uint8).reshape(len(texts), -1),
            "lost": np.asarray(lost, np.int32),
        }
        content = save(tensors, metadata={"teacher": self._teacher})
        path = self.folder / (self._name(content) + SUFFIX)
        self._check_width(path, vectors.shape[1])
        try:
            write_whole(path, content)
        except OSError as error:
            raise self._unwritable(error) from error
        self._take(path, tensors)

    def _acquire(self, lock: int) -> None:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print(f"waiting: another process embeds reports into {self.folder}", file=sys.stderr)
                fcntl.flock(lock, fcntl.LOCK_EX)
            for part in self.folder.glob("*.part"):
                part.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def _read_new(self) -> None:
        """Read the files that were not there before."""
        try:
            names = {path.name for path in self.folder.iterdir() if path.suffix == SUFFIX}
        except FileNotFoundError:
            return
        except OSError as error:
            raise TeacherError(f"{self.folder}: cannot be read ({error.strerror})") from error
        for name in sorted(names - self._read):
            path = self.folder / name
            try:
                content = path.read_bytes()
            except OSError as error:
                raise TeacherError(f"{path}: cannot be read ({error.strerror})") from error
            if self._name(content) != path.stem:
                raise TeacherError(
                    f"{path}: is damaged or of another teacher; delete it and run again: its reports are embedded anew"
                )
            self._take(path, load(content))

    def _take(self, path: Path, tensors: Mapping[str, NDArray[np.generic]]) -> None:
        vectors = np.asarray(tensors["embeddings"], np.float32)
        self._check_width(path, vectors.shape[1])
        self._read.add(path.name)
        for text, vector, lost in zip(tensors["texts"], vectors, tensors["lost"], strict=True):
            if (digest := text.tobytes()) in self._wanted:
                self.rows[digest] = Embedded(vector, int(lost))

    def _check_width(self, path: Path, width: int) -> None:
        if self._width and width != self._width:
            raise TeacherError(
                f"{path}: embeddings of {width} numbers beside others of {self._width}; delete the folder and run again"
            )
        self._width = width

    def _name(self, content: bytes) -> str:
        digest = hashlib.sha256(self._teacher.encode())
        digest.update(content)
        return digest.hexdigest()[:32]

    def _unwritable(self, error: OSError) -> TeacherError:
        kept = f" the embeddings of {len(self.rows)} reports are kept;" if self.rows else ""
        return TeacherError(
            f"{self.folder}: cannot be written ({error.strerror});{kept} make room or name another cache, and run again"
        )
