"""Logs on standard error: JSON lines for a machine, coloured text for a person at a terminal.

Does: sets up structlog for the whole process. Does not: write files (journald keeps them) or touch standard output,
which belongs to results.
"""

from __future__ import annotations

import contextlib
import io
import sys
from typing import TYPE_CHECKING, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import Processor

    from edge.sections import LogSettings

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure(settings: LogSettings) -> None:
    """Send every log line at or above the level to standard error."""
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    processors: list[Processor] = [
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


class _Unfailing(io.TextIOBase):
    """Standard error, where a line that cannot be written (to a file on a full disk) is no reason to stop hearing."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
