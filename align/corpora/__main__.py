"""Look at a corpus as it was downloaded: `python -m align.corpora NAME --root DIR`.

Prints counts by split, by label and of durations on standard output, what was decided on the way, and every problem
found: files that are missing, cut short or not audio, names that are not understood, people in two splits. Ends with
status 2 if a person is in two splits or more than 1 % of the recordings have a problem. Two arguments need no settings
file, so this is a plain command line.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from align.corpora.inspection import BAD_SHARE, describe, hear_all
from align.corpora.recording import CorpusError
from align.corpora.registry import ADAPTERS, list_corpus
from align.corpora.splits import refuse_leaks
from edge.errors import exit_status
from edge.settings import Parser


def look(name: str, root: Path) -> None:
    """Print what is in the corpus `name` under `root`.

    Raises:
        CorpusError: `root` is not that corpus, a person is in two splits, or too much of it is bad.
    """
    listing = list_corpus(name, root)
    durations_s, bad = hear_all(listing.recordings)
    problems = [*listing.problems, *bad]
    print(f"{name} in {root}\n")
    print("\n".join(describe(listing.recordings, durations_s)))
    if listing.notes:
        print("\nnotes:", *listing.notes, sep="\n  ")
    print(f"\nproblems: {len(problems)}", *problems, sep="\n  ", flush=True)
    refuse_leaks(name, listing.recordings)
    if len(problems) > BAD_SHARE * len(listing.recordings):
        raise CorpusError(
            f"{name}: {len(problems)} problems in {len(listing.recordings)} recordings, more than {BAD_SHARE:.0%}; "
            f"the first: {problems[0]}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit status."""
    parser = Parser(prog="python -m align.corpora", description=__doc__)
    parser.add_argument("name", choices=ADAPTERS, metavar="NAME", help=f"the corpus: {', '.join(ADAPTERS)}")
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder into which it was unpacked (table: or a CSV)",
    )

    def program() -> int:
        parsed = parser.parse_args(arguments)
        look(parsed.name, parsed.root)
        return 0

    return exit_status(program)


if __name__ == "__main__":
    sys.exit(main())
