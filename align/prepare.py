"""Decode a corpus once, for training: `python -m align.prepare CORPUS --root DIR --output DIR`.

Every recording is decoded, mixed down, resampled (soxr) and stored as 16-bit PCM in Arrow files. Open the result with
`datasets.load_from_disk(OUTPUT)["train"]`; its rows are described in `align.shards`. Stops and resumes: run the same
command again, and what is on disk already is kept.

A file that is missing, cut short or not audio, and whatever else `python -m align.corpora` calls a problem, is named,
listed in `skipped.csv` and left out; every run tells it again, and the first after the file has changed takes it in. If
there are more than one in a hundred recordings, the rest is stored all the same, and the program ends with status 2.
"""

from __future__ import annotations

import sys

from align.config import PrepareSettings
from align.corpora import CorpusError
from align.corpora.inspection import BAD_SHARE
from edge.settings import run_program


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: PrepareSettings) -> int:
        # Here, because the libraries take seconds to load, and a mistake in the settings shall not wait for them.
        from align.preparation import prepare

        total, skipped = prepare(settings)
        for row in skipped:
            print(f"skipped: {row.reason}", file=sys.stderr)
        stored = total - sum(bool(row.path) for row in skipped)
        print(f"{stored} of {total} recordings in {settings.output}, {len(skipped)} problems")
        if len(skipped) > BAD_SHARE * total:
            raise CorpusError(
                f"{settings.root}: {len(skipped)} problems in {total} recordings, more than {BAD_SHARE:.0%}, listed in "
                f"{settings.output / 'skipped.csv'}; mend them and run the same command again"
            )
        return 0

    return run_program(PrepareSettings, run, prog="python -m align.prepare", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
