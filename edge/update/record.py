"""What is remembered of updates across restarts: one small file, replaced whole, and the two locks around it.

Does: says which bundle is installed, which one it replaced, how its probation goes and how the last update ended.
Does not: decide anything (`edge.update.running`, `edge.update.install`).
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.config import Settings
from edge.errors import UpdateError, first_line
from edge.files import give_to_owner_of, make_private, replace_whole
from edge.sections import BundleSettings

State = Literal["installed", "probation", "confirmed", "refused", "rolled back"]

_RECORD, _RECORD_LOCK, _INSTALL_LOCK = "record.json", "record.lock", "install.lock"

# A name directly below the store, so that a record cannot point outside.
FolderName = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Outcome(_Part):
    """How the last update stands."""

    state: State
    bundle: str
    """Name and version, or what was to be taken, where it was refused before they were known."""
    reason: str = ""
    at: str
    """RFC 3339, by this device's clock."""


class Record(_Part):
    """Which bundle runs. A bundle's folder is named by the SHA-256 of its manifest; empty: the configured bundle."""

    schema_version: Literal[1] = 1
    configured: str = ""
    """`bundle.path` at the time of the update: an operator who sets another one is obeyed."""
    current: str = FolderName
    name: str = ""
    """Name and version of the current bundle."""
    previous: str = FolderName
    on_probation: bool = False
    starts: int = 0
    """Of the current bundle within its probation."""
    in_order: bool = True
    """Whether its last run ended in order."""
    confirmed: dict[str, str] = Field(default_factory=dict)
    """By name of a bundle, the version that was confirmed last: an older one is not taken by itself."""
    outcome: Outcome | None = None


class RecordFile:
    """The record in the folder of updates. Any process may read it; each change is one atomic replacement."""

    def __init__(self, folder: Path, configured: str) -> None:
        """`configured` is `bundle.path` as it is set now."""
        self.folder = folder
        self._configured = configured

    @property
    def store(self) -> Path:
        """Holds the installed bundles, a folder each."""
        return self.folder / "store"

    @property
    def incoming(self) -> Path:
        """Holds what is being taken in; nothing there is ever run."""
        return self.folder / "incoming"

    def read(self) -> Record:
        """The record; an empty one where there is none, or where `bundle.path` has been set to another bundle since.

        Raises:
            UpdateError: it cannot be read.
        """
        path = self.folder / _RECORD
        try:
            record = Record.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Record(configured=self._configured)
        except OSError as error:
            raise UpdateError(f"{path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            raise UpdateError(f"{path}: is damaged: {first_line(error)}; remove it to run bundle.path") from error
        return record if record.configured == self._configured else Record(configured=self._configured)

    def bundle_of(self, record: Record, settings: BundleSettings) -> BundleSettings:
        """What a record says is to run: its current bundle, or what is configured."""
        return settings.model_copy(update={"path": str(self.store / record.current)}) if record.current else settings

    def mark(self) -> tuple[int, int]:
        """Something else after every change, by whichever process."""
        try:
            status = (self.folder / _RECORD).stat()
        except OSError:
            return (0, 0)
        return (status.st_ino, status.st_mtime_ns)

    def change(self, change: Callable[[Record], Record]) -> Record:
        """Replace the record by what `change` makes of it, and return that.

        Raises:
            UpdateError: it cannot be read or written; it is then what it was.
        """
        try:
            make_private(self.folder)
            with _lock(self.folder / _RECORD_LOCK, fcntl.LOCK_EX):
                record = change(self.read())
                replace_whole(self.folder / _RECORD, record.model_dump_json(indent=2).encode() + b"\n")
        except OSError as error:
            raise UpdateError(f"{self.folder}: cannot be written: {error.strerror}") from error
        return record

    @contextmanager
    def installing(self) -> Iterator[None]:
        """Keep every other process from installing meanwhile.

        Raises:
            UpdateError: another one is at it, or the folder cannot be written.
        """
        try:
            make_private(self.folder)
            with _lock(self.folder / _INSTALL_LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB):
                yield
        except BlockingIOError as error:
            raise UpdateError(f"{self.folder}: another update is being taken in; wait for its end") from error


def bundle_to_run(settings: Settings) -> BundleSettings:
    """What the next start of the daemon runs: the bundle that an update has installed, or the configured one.

    Raises:
        UpdateError: the record of updates cannot be read.
    """
    records = RecordFile(settings.update_folder, settings.bundle.path)
    return records.bundle_of(records.read(), settings.bundle)


@contextmanager
def _lock(path: Path, operation: int) -> Iterator[None]:
    with path.open("ab") as file:
        give_to_owner_of(path.parent, path)
        fcntl.flock(file, operation)
        yield
