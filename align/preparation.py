"""A corpus decoded and stored, shard by shard: what `align.prepare` runs. What a shard is, `align.shards` says."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Generator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from align.audio import load
from align.config import PrepareSettings
from align.corpora import Recording
from align.corpora.recording import Split
from align.corpora.registry import list_corpus
from align.corpora.splits import refuse_leaks
from align.files import relative, write_whole
from align.shards import Shard, Skipped, find_done, key_of, seal, unseal, write_shard
from edge.errors import AudioError, UserError
from edge.settings import to_toml

ROWS_PER_SHARD = 128
"""Recordings decoded between two moments at which a stopped run loses nothing; a minute each is 250 MB in memory."""


def prepare(settings: PrepareSettings) -> tuple[int, list[Skipped]]:
    """Prepare a corpus, or go on with it, and return how many recordings it lists and what was left out.

    Raises:
        CorpusError: the corpus is not there, or has a person in two splits.
        UserError: the output cannot be written, or holds something else.
    """
    listing = list_corpus(settings.corpus, settings.root)
    refuse_leaks(settings.corpus, listing.recordings)
    shards = _divide(listing.recordings)
    try:
        _claim(settings)
        # What a problem of the listing stands for has no recording, and so no path.
        not_listed = [Skipped("", problem) for problem in listing.problems]
        return len(listing.recordings), _store(settings, shards, not_listed)
    except OSError as error:
        raise UserError(
            f"{settings.output}: cannot be written ({error.strerror or error}); "
            "mend that and run the same command again: what is stored already is kept"
        ) from error


def to_pcm(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """16-bit PCM of samples in [-1, 1], same shape; louder ones are clipped, what was 16-bit comes back bit for bit."""
    pcm: NDArray[np.int16] = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return pcm


def _store(settings: PrepareSettings, shards: Sequence[Shard], not_listed: Sequence[Skipped]) -> list[Skipped]:
    root = _root(settings)
    keys = [key_of(shard, root, settings.sample_rate_hz) for shard in shards]
    total = sum(len(shard.recordings) for shard in shards)
    skipped = list(not_listed)
    with ThreadPoolExecutor(settings.workers) as pool, tqdm(total=total, desc="prepare", unit="file") as bar:
        for shard, key in zip(shards, keys, strict=True):
            left_out = find_done(shard, settings.output, key)
            if left_out is not None:
                skipped += left_out
                bar.update(len(shard.recordings))
                continue
            unseal(settings.output)
            # Closed at once where the writer stops, by Ctrl-C or a full disk: that cancels what is not yet decoded.
            with closing(_decode(shard, settings, pool, bar)) as decoded:
                skipped += write_shard(shard, settings.output, root, key, decoded, settings.sample_rate_hz)
    table = io.StringIO()
    csv.writer(table).writerows([("path", "reason"), *((row.path, row.reason) for row in skipped)])
    write_whole(settings.output / "skipped.csv", table.getvalue())
    seal(settings.output, shards, keys)
    return skipped


def _decode(
    shard: Shard, settings: PrepareSettings, pool: Executor, bar: tqdm[NoReturn]
) -> Generator[NDArray[np.int16] | Skipped, None, None]:
    """Samples of each recording of a shard, in order, decoded in parallel: the decoders let go of the interpreter."""

    def one(recording: Recording) -> NDArray[np.int16] | Skipped:
        try:
            return to_pcm(load(recording.path, settings.sample_rate_hz))
        except AudioError as error:
            return Skipped(relative(recording.path, _root(settings)), str(error))

    for samples in pool.map(one, shard.recordings):
        bar.update()
        yield samples


def _root(settings: PrepareSettings) -> Path:
    """The folder below which paths are stored: that of a table's, too, as `align.report` names recordings."""
    return settings.root.parent if settings.root.is_file() else settings.root


def _divide(recordings: Sequence[Recording]) -> list[Shard]:
    by_split: defaultdict[Split, list[Recording]] = defaultdict(list)
    for row in recordings:
        by_split[row.split].append(row)
    return [
        Shard(split, number, tuple(rows[start : start + ROWS_PER_SHARD]))
        for split, rows in by_split.items()
        for number, start in enumerate(range(0, len(rows), ROWS_PER_SHARD))
    ]


def _claim(settings: PrepareSettings) -> None:
    """Make the output folder, or find in it the same corpus at the same rate.

    Raises:
        UserError: it holds another preparation, or something that is none.
        OSError: it cannot be written.
    """
    path, now = settings.output / "settings.toml", to_toml(settings)
    settings.output.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        before = set(_lasting(path.read_text(encoding="utf-8")))
        changed = ", ".join(sorted({line.partition(" ")[0] for line in before ^ set(_lasting(now))}))
        if changed:
            raise UserError(f"{settings.output} holds another {changed}; name another --output or remove it")
    elif any(settings.output.iterdir()):
        raise UserError(f"{settings.output} is not empty and holds no preparation; name another --output")
    write_whole(path, now)


def _lasting(settings: str) -> list[str]:
    """The lines of settings that may not change between two runs into one folder."""
    return [line for line in settings.splitlines() if line.startswith(("corpus ", "sample_rate_hz "))]
