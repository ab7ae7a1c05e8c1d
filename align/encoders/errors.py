"""What can be wrong with an encoder's name or weights."""

from __future__ import annotations

from edge.errors import UserError


class EncoderError(UserError, ValueError):
    """An encoder that is not known, or weights that are not those of its architecture."""
