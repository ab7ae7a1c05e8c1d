"""Write clinical reports from metadata: `python -m align.report --recordings RECORDINGS --output reports.parquet`.

By template, by a server that speaks OpenAI's protocol, or by a model on this machine; every report is checked against
the metadata, and one that fails is asked for again, then written by template, and counted. Stops and resumes: run the
same command again. The server's key is read from an environment variable or a file, never from a flag.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tqdm import tqdm

from align.corpora import CorpusError, Recording, read_table
from align.reports.config import ReportSettings
from align.reports.facts import brief_all, hide, without_impossible
from align.reports.store import ReportStore
from align.reports.work import Counts, write_all
from align.reports.writers import make_writer
from edge.settings import run_program


def select(settings: ReportSettings) -> list[Recording]:
    """The recordings to write of.

    Raises:
        CorpusError: table or folder is wrong, or has no such corpus.
    """
    source = settings.recordings
    if source.is_dir():
        # Here, because the library that opens it takes seconds to load.
        from align.clips import read_prepared

        rows = read_prepared(source)
    else:
        rows = read_table(source)
    unknown = set(settings.corpora) - {row.corpus for row in rows}
    if unknown:
        raise CorpusError(f"{source}: no corpus {', '.join(sorted(unknown))} to write of")
    if not rows:
        raise CorpusError(f"{source}: lists no recording")
    return [row for row in rows if not settings.corpora or row.corpus in settings.corpora]


def report(settings: ReportSettings) -> tuple[Counts, int]:
    """Write, or go on writing, and return how it went and how many reports were there before.

    Raises:
        CorpusError: as `select`.
        ReportError: a value, a hidden label or the output file is wrong, or the file holds reports of other settings.
        WriterError: the writer cannot go on.
    """
    rows = select(settings)
    source = settings.recordings
    if source.is_dir():
        rows, slips = without_impossible(rows, source)
        for slip in slips:
            print(f"unknown: {slip}", file=sys.stderr)
    # In a prepared folder paths are as reports name them.
    briefs = brief_all(rows, source, hide(settings.hide), root=Path() if source.is_dir() else source.parent)
    writer = make_writer(settings)
    with ReportStore(settings.output, {**settings.lasting, "prompt_hash": writer.prompt_hash}) as store:
        kept = {path: old.digest for path, old in store.reports.items()}
        jobs = [job for job in zip(briefs, rows, strict=True) if kept.get(job[0].key) != job[0].digest]
        done = len(rows) - len(jobs)
        with tqdm(total=len(rows), initial=done, desc="reports", unit="report", file=sys.stderr) as bar:
            counts = asyncio.run(write_all(jobs, writer, store, settings.seed, bar.update))
        store.finish((brief.key, row) for brief, row in zip(briefs, rows, strict=True))
    return counts, done


def spread(arguments: list[str], flag: str) -> list[str]:
    """`--hide a b` as `--hide a --hide b`, the form in which settings take a list."""
    result: list[str] = []
    listing = False
    for argument in arguments:
        if listing and not argument.startswith("-"):
            result += [argument] if result[-1] == flag else [flag, argument]
        else:
            result.append(argument)
            listing = argument == flag
    return result


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: ReportSettings) -> int:
        counts, kept = report(settings)
        print(f"reports: {settings.output} ({counts.written} written, {kept} kept)")
        if counts.refused:
            kinds = ", ".join(f"{kind} {number}" for kind, number in counts.problems.most_common())
            print(f"refused: {counts.refused} tries ({kinds}); by template instead: {counts.fallbacks} reports")
        return 0

    for flag in ("--hide", "--corpora"):
        sys.argv[1:] = spread(sys.argv[1:], flag)
    return run_program(ReportSettings, run, prog="python -m align.report", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
