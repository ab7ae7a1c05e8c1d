"""The command line of a bench: a mistake in it is told in one line, as any other wrong input is."""

from __future__ import annotations

import sys
from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable
from typing import NoReturn

from edge.errors import exit_status
from edge.settings import Parser


def parser(name: str, about: str | None) -> Parser:
    """The parser of `python -m bench.NAME`; `about` is the module's docstring."""
    return Parser(prog=f"python -m bench.{name}", description=about, formatter_class=RawDescriptionHelpFormatter)


def run(flags: Parser, program: Callable[[Namespace], int | None]) -> NoReturn:
    """Run a program with the options that were given, and leave with its exit status, 0 where it returns none."""
    sys.exit(exit_status(lambda: program(flags.parse_args()) or 0))
