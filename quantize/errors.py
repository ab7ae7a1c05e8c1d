"""What can stop an export: a wrong input (`UserError`, status 2) or a result that is not good enough (`GateError`)."""

from __future__ import annotations

from edge.errors import UserError


class CheckpointError(UserError, ValueError):
    """A checkpoint that is missing, not one of a student, or damaged."""


class ExportError(UserError, ValueError):
    """Recordings or an output folder that an export cannot work with."""


class GateError(Exception):
    """A check that the exported model did not pass: nothing is written, exit status 1."""
