"""Who writes: one protocol, three writers, and how a report is asked for.

A writer gives a text for a brief; it neither checks nor stores (`align.reports.work` does). The template writer lives
here; the server's and the local model's have modules of their own, imported only where they are chosen.
"""

from __future__ import annotations

from typing import Protocol

from align.reports import template
from align.reports.config import ReportSettings
from align.reports.errors import ReportError
from align.reports.prompt import Ask


class Writer(Protocol):
    """Writes a report of what is known of a recording."""

    name: str
    """`template`, `server` or `local`."""
    model: str
    prompt_hash: str
    """A hash of the prompt, or of the grammar: all that decides what is asked for, but for the facts."""
    attempts: int
    """How often a report may be asked for before the template takes over."""
    concurrency: int
    """How many reports may be asked for at the same time."""
    paid: bool
    """Whether a report costs time or money, so that each is on disk before the next."""

    async def write(self, ask: Ask) -> str:
        """A text, which may be empty or wrong.

        Raises:
            WriterError: no report can be had any more, of this recording or another.
        """

    async def close(self) -> None:
        """Let go of connections."""


class TemplateWriter:
    """Writes by `align.reports.template`."""

    name = "template"
    model = "template"
    attempts = 1
    concurrency = 1
    paid = False

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.prompt_hash = template.grammar_hash()

    async def write(self, ask: Ask) -> str:
        """The report by template, the same whenever it is asked for."""
        return template.compose(ask.brief, self._seed)

    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def make_writer(settings: ReportSettings) -> Writer:
    """The writer that the settings ask for.

    Raises:
        ReportError: no model is named for a writer that needs one.
        WriterError: the key cannot be read, or the address is none.
    """
    if settings.writer == "template":
        return TemplateWriter(settings.seed)
    if not settings.model:
        raise ReportError(f"--writer {settings.writer} needs --model: the name that the server knows, or a folder")
    if settings.writer == "server":
        from align.reports.server import ServerWriter

        return ServerWriter(settings)
    from align.reports.local import LocalWriter

    return LocalWriter(settings)
