"""What can go wrong with reports, each told in one line (`edge.errors.UserError`)."""

from __future__ import annotations

from edge.errors import UserError


class ReportError(UserError, ValueError):
    """Metadata of which no report can be written, or a file of reports that cannot be read, written or continued."""


class WriterError(UserError, RuntimeError):
    """A writer that cannot go on: no server there, a key that is refused, a model that cannot be loaded."""
