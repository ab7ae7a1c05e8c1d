"""The arguments of a program that trains every condition of a study with several seeds, each training a process."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from align.files import refuse_absent
from edge.errors import UserError
from edge.settings import Parser


def arguments(
    prog: str, description: str | None, conditions: Iterable[str], *, output: Path, seeds: int
) -> argparse.Namespace:
    """Read the command line and make the output folder.

    Args:
        prog: name of the program.
        description: of it.
        conditions: names of the trainings.
        output: default folder for trainings and scores.
        seeds: default number of trainings of each condition.

    Returns:
        `recordings`, `output`, `seeds`, `processes`; and `condition` and `seed`, by which the program starts one
        training in a process of its own. Paths are absolute, since that may run elsewhere.

    Raises:
        UserError: a mistake in it, no such table, or a folder that cannot be made.
    """
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--recordings", type=Path, required=True, help="CSV that lists CirCor's recordings")
    parser.add_argument("--output", type=Path, default=output, help="folder for trainings and scores")
    parser.add_argument("--seeds", type=int, default=seeds, help="trainings of each condition")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="trainings at once")
    parser.add_argument("--condition", choices=list(conditions), help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    for name in ("seeds", "processes"):
        if getattr(given, name) < 1:
            raise UserError(f"--{name} {getattr(given, name)}: give 1 or more")
    given.recordings, given.output = given.recordings.absolute(), given.output.absolute()
    refuse_absent(given.recordings, "give the CSV that lists CirCor's recordings")
    try:
        given.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{given.output}: cannot be a folder ({error.strerror}); name another --output") from error
    return given
