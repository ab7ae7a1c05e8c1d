"""Messages without a true time, kept over a restart of the program: a file of JSON lines beside the outbox.

Does: appends a message, and reads those of this start of the machine; the monotonic times of an earlier one mean
nothing any more. Does not: correct anything (`edge.corrections` does), or wait for the disk: what a loss of power takes
could not be used after it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.files import replace_whole

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another one after each start of the machine."""


class Untimed(BaseModel):
    """A message that was put into the outbox while the clock was not set."""

    model_config = ConfigDict(frozen=True)

    key: str
    """Under which it was put."""
    topic: str
    payload: dict[str, Any]
    times_s: dict[str, float]
    """The monotonic time, in seconds, behind each of its fields that hold a time of day."""
    telemetry: bool


class _Line(Untimed):
    boot: str


class UntimedFile:
    """Owns the file. A disk that refuses costs no more than what a restart then forgets."""

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet."""
        self._path = path
        self._boot = ""
        with contextlib.suppress(OSError):
            self._boot = BOOT_ID.read_text().strip()

    def read(self) -> Iterator[Untimed]:
        """What was kept since the machine was started; damaged lines are passed over."""
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return
        for text in lines:
            with contextlib.suppress(ValidationError):
                line = _Line.model_validate_json(text)
                if self._boot and line.boot == self._boot:
                    yield Untimed(**line.model_dump(exclude={"boot"}))

    def append(self, untimed: Untimed) -> None:
        """Keep one more."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(OSError), os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
            file.write(self._line(untimed))

    def replace(self, untimed: Iterable[Untimed]) -> None:
        """Keep these alone; no file where there are none."""
        content = b"".join(map(self._line, untimed))
        with contextlib.suppress(OSError):
            if content:
                replace_whole(self._path, content)
            else:
                self._path.unlink(missing_ok=True)

    def _line(self, untimed: Untimed) -> bytes:
        # Its end comes first: a full disk may have left half a line.
        return b"\n" + _Line(**untimed.model_dump(), boot=self._boot).model_dump_json().encode()
