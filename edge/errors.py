"""Errors that a user can act on.

Each carries one line that names what is wrong, where, and what to do; the programs print it on standard error and end
with exit status 2 (`exit_status`). Anything else that escapes is a defect and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

EXIT_USER_ERROR = 2

EXIT_READER_GONE = 141
"""What a shell reports for a program that SIGPIPE ended."""


class UserError(Exception):
    """A wrong input or environment, told in one line."""


class AudioError(UserError, ValueError):
    """Audio that is missing, unreadable or not usable."""


class BundleError(UserError, ValueError):
    """A bundle that is incomplete, altered, untrusted or gives other outputs than its golden vectors."""


class ConfigError(UserError, ValueError):
    """A setting that is unknown, out of range or in conflict with another."""


class EngineError(UserError, RuntimeError):
    """A TensorRT engine that is missing, of another machine or graph, or that cannot be built or run."""


class OutboxError(UserError, OSError):
    """An outbox that cannot be opened or written."""


class UpdateError(UserError, ValueError):
    """An archive that is no bundle, cannot be fetched, or holds a bundle that did not pass its trial."""


def first_line(error: BaseException) -> str:
    """What a library's exception says, in at most 200 letters of one line; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def exit_status(program: Callable[[], int]) -> int:
    """Run a program and return its exit status: its own, 2 for a mistake of the user, 130 for Ctrl-C."""
    try:
        return program()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read standard output has left, as `head` does. Python must not complain of it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_READER_GONE
