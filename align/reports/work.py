"""The work itself: ask, check, ask again, fall back, keep; many reports at a time.

Owns nothing: the writer writes, the store keeps, the caller shows progress.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from align.corpora import Recording
from align.reports import template
from align.reports.check import check, tally
from align.reports.errors import ReportError
from align.reports.facts import Brief
from align.reports.prompt import Ask
from align.reports.store import Report, ReportStore
from align.reports.writers import Writer

Job = tuple[Brief, Recording]


@dataclass
class Counts:
    """How the work went."""

    written: int = 0
    fallbacks: int = 0
    """Reports by template because the writer's own were refused."""
    refused: int = 0
    """Tries that failed the check, including those that were mended."""
    problems: Counter[str] = field(default_factory=Counter)
    """Kinds of problems, each counted once a try."""


async def write_all(
    jobs: Sequence[Job], writer: Writer, store: ReportStore, seed: int, advance: Callable[[], object]
) -> Counts:
    """Write a report of every job and keep it, calling `advance` for each.

    Raises:
        WriterError: the writer cannot go on.
        ReportError: a report cannot be kept. Either way, what was kept before stays.
    """
    counts = Counts()
    queue = iter(jobs)
    workers = [
        asyncio.create_task(_work(queue, writer, store, seed, counts, advance))
        for _ in range(min(writer.concurrency, len(jobs)))
    ]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        await writer.close()
    return counts


async def _work(
    queue: Iterator[Job], writer: Writer, store: ReportStore, seed: int, counts: Counts, advance: Callable[[], object]
) -> None:
    for brief, row in queue:
        report = await write_one(brief, row, writer, seed, counts)
        store.add(report, at_once=writer.paid)
        counts.written += 1
        counts.fallbacks += report.fallback
        advance()
        # The template writer never waits for anything: without a pause, the event loop could not act on Ctrl-C.
        await asyncio.sleep(0)


async def write_one(brief: Brief, row: Recording, writer: Writer, seed: int, counts: Counts) -> Report:
    """A report that holds the check: the writer's, or the template's after too many that did not.

    Raises:
        WriterError: the writer cannot go on.
    """
    ask = Ask(brief)
    while True:
        text = " ".join((await writer.write(ask)).split())
        problems = tuple(check(text, brief))
        if not problems:
            return _report(brief, row, writer, seed, text, ask, fallback=False)
        counts.refused += 1
        counts.problems.update({problem.kind for problem in problems})
        ask = Ask(brief, ask.attempt + 1, text, problems)
        if ask.attempt >= writer.attempts:
            break
    text = template.compose(brief, seed)
    wrong = check(text, brief)
    if wrong:
        raise ReportError(f"{brief.key}: not even the template can report it ({tally(wrong)}); simplify its metadata")
    return _report(brief, row, writer, seed, text, ask, fallback=True)


def _report(brief: Brief, row: Recording, writer: Writer, seed: int, text: str, ask: Ask, *, fallback: bool) -> Report:
    return Report(
        path=brief.key,
        corpus=row.corpus,
        group=row.group,
        split=row.split,
        report=text,
        writer="template" if fallback else writer.name,
        model=writer.model,
        prompt_hash=writer.prompt_hash,
        seed=seed,
        hidden=",".join(sorted(brief.hidden)),
        attempts=ask.attempt + (not fallback),
        fallback=fallback,
        problems=tally(ask.problems),
        digest=brief.digest,
    )
