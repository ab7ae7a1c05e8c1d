"""What can go wrong with a teacher, its reports or its cache."""

from __future__ import annotations

from edge.errors import UserError


class TeacherError(UserError, ValueError):
    """A teacher that cannot be loaded, a report that it cannot read, or a cache that cannot be read or written."""
