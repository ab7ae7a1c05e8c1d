"""What can be wrong with what an objective is given."""

from __future__ import annotations

from edge.errors import UserError


class ObjectiveError(UserError, ValueError):
    """A batch, a size or embeddings that an objective cannot work with."""
