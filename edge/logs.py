"""Logs on standard error: JSON lines for a machine, coloured text for a person at a terminal.

Does: sets up structlog for the whole process, and holds back lines of one kind that come too often, which it counts.
Does not: write files (journald keeps them) or touch standard output, which belongs to results.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from edge.sections import LogSettings

MOST_A_MINUTE = 100
"""Lines of one kind; a fault that nobody foresaw, or a stranger who sends commands, fills no disk."""
_UNLIMITED = "event"
"""What was heard, of which the refractory time allows only so many."""

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(settings: LogSettings) -> None:
    """Send every log line at or above the level to standard error."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    processors: list[Processor] = [
        RateLimit(),
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if console:
        # Where rich is installed, the default would show what variables hold, a password among them.
        plain = structlog.dev.plain_traceback
        processors += [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    else:
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[settings.level]),
        # A line and its end in one piece: between the two, another thread's line could come.
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Unfailing())),
    )
    logging.basicConfig(handlers=[_FromLibraries(logging.ERROR)], force=True)


class _FromLibraries(logging.Handler):
    """Errors that a library tells by Python's own logging, which would come as bare text otherwise, as lines of this
    log. Its warnings, of strangers who call and hang up, are nothing that anybody could mend."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno, "library", name=record.name, text=record.getMessage(), exc_info=record.exc_info
        )


class RateLimit:
    """Lets `MOST_A_MINUTE` lines of each kind pass; the first after that minute tells how many did not."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """`now`: a clock in seconds that nobody sets."""
        self._now = now
        self._minutes: dict[Any, tuple[float, int]] = {}
        """Of each kind, the start of its minute and the lines in it."""
        self._lock = threading.Lock()

    def __call__(self, _logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """A processor of structlog's. Raises DropEvent for a line that is held back."""
        kind, now_s = line.get("event"), self._now()
        if kind == _UNLIMITED:
            return line
        with self._lock:
            since_s, lines = self._minutes.get(kind, (now_s, 0))
            held_back = 0
            if now_s - since_s >= 60.0:
                since_s, lines, held_back = now_s, 0, max(0, lines - MOST_A_MINUTE)
            self._minutes[kind] = since_s, lines + 1
        if lines >= MOST_A_MINUTE:
            raise structlog.DropEvent
        if held_back:
            line["held_back"] = held_back
        return line


class _Unfailing(io.TextIOBase):
    """Standard error, where a line that cannot be written (to a file on a full disk) is no reason to stop hearing."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
