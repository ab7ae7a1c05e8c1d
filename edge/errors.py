"""Errors that a user can act on.

Each carries one line that names what is wrong, where, and what to do; the programs print it on standard error and end
with exit status 2. Anything else that escapes is a defect and keeps its traceback.
"""


class UserError(Exception):
    """A wrong input or environment, told in one line."""


class AudioError(UserError, ValueError):
    """Audio that is missing, unreadable or not usable."""


class BundleError(UserError, ValueError):
    """A bundle that is incomplete, altered, untrusted or gives other outputs than its golden vectors."""


class ConfigError(UserError, ValueError):
    """A setting that is unknown, out of range or in conflict with another."""


class OutboxError(UserError, OSError):
    """An outbox that cannot be opened or written."""
