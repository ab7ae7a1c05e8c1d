"""The steps of a long program on the screen: numbered, each with what it found and its time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


class Steps:
    """Prints `[2/8] title: what was found (1.2 s)` at the end of each step."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        """`total` steps will come; they are printed on `stream`, by default standard output."""
        self._total, self._stream, self._done = total, stream or sys.stdout, 0

    @contextmanager
    def step(self, title: str) -> Iterator[list[str]]:
        """One step; gives a list to which it appends what it found."""
        start, found = time.perf_counter(), list[str]()
        yield found
        self._done += 1
        told = f"[{self._done}/{self._total}] {title}: {', '.join(found)} ({time.perf_counter() - start:.1f} s)"
        print(told, file=self._stream, flush=True)

    def show(self, text: str) -> None:
        """Print lines that belong to the step before, indented."""
        print("\n".join(f"      {line}" for line in text.splitlines()), file=self._stream, flush=True)


def megabytes(path: Path) -> str:
    """Size of a file, for people."""
    return f"{path.stat().st_size / 1e6:.2f} MB"
