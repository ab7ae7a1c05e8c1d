"""A look at a corpus: decodes every recording once, counts, and says what is wrong. Changes nothing.

Whole files are decoded, not headers alone: a header says nothing of a download that broke off.
"""

from __future__ import annotations

import os
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from align.audio import decode
from align.corpora.reading import to_number
from align.corpora.recording import Recording, Split
from edge.errors import AudioError

BAD_SHARE = 0.01
"""More bad files than this are not the odd broken recording but a broken copy of a corpus."""

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
FEW_VALUES = 12
"""A label with more different numbers than this is told by its range, not value by value."""


def hear_all(recordings: Sequence[Recording]) -> tuple[dict[Path, float], list[str]]:
    """Decode every recording, in parallel and with a progress bar.

    Returns:
        Duration in seconds by path of what can be used, and a line for each file that cannot.
    """

    def hear(recording: Recording) -> float | str:
        try:
            samples, rate = decode(recording.path)
        except AudioError as error:
            return str(error)
        return len(samples) / rate

    # libsndfile, FFmpeg and numpy let go of the interpreter lock, so threads do work at the same time.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        heard = list(tqdm(pool.map(hear, recordings), total=len(recordings), desc="decode", unit="file"))
    pairs = list(zip(recordings, heard, strict=True))
    durations_s = {row.path: found for row, found in pairs if isinstance(found, float)}
    return durations_s, [found for found in heard if isinstance(found, str)]


def describe(recordings: Sequence[Recording], durations_s: Mapping[Path, float]) -> Iterator[str]:
    """Lines with the counts by split and by label, and the durations, of recordings that can be used."""
    rows = [row for row in recordings if row.path in durations_s]
    columns = ("people", "recordings", "hours", "shortest s", "median s", "longest s")
    yield f"{'split':24}" + "".join(f"{column:>12}" for column in columns)
    for split in (*SPLITS, "all"):
        part = [row for row in rows if split in (row.split, "all")]
        if not part:
            continue
        seconds = [durations_s[row.path] for row in part]
        figures = (min(seconds), statistics.median(seconds), max(seconds))
        yield (
            f"{split:24}{len({row.group for row in part}):>12}{len(part):>12}{sum(seconds) / 3600:>12.2f}"
            + "".join(f"{figure:>12.2f}" for figure in figures)
        )
    yield ""
    yield f"{'label':24}{'':12}" + "".join(f"{split:>12}" for split in SPLITS)
    for label, values in _values(rows).items():
        yield from _count(label, values)


def _values(rows: Sequence[Recording]) -> dict[str, list[tuple[Split, str]]]:
    """(split, value) of every recording, by label; the event and, where several, corpus and modality before."""
    values: defaultdict[str, list[tuple[Split, str]]] = defaultdict(list)
    for name in ("corpus", "modality"):
        if len({getattr(row, name) for row in rows}) > 1:
            values[name] = [(row.split, getattr(row, name)) for row in rows]
    values["event"] = [(row.split, row.event or "(unknown)") for row in rows]
    for label in sorted({label for row in rows for label in row.labels}):
        values[label] = [(row.split, row.labels.get(label, "(unknown)")) for row in rows]
    return values


def _count(label: str, values: Sequence[tuple[Split, str]]) -> Iterator[str]:
    counts = Counter(values)
    different = sorted({value for _, value in values})
    numbers = [number for value in different if (number := to_number(value)) is not None]
    if len(numbers) > FEW_VALUES:
        places = Counter(split for split, value in values if to_number(value) is not None)
        yield f"{label:24}{f'{min(numbers):g} to {max(numbers):g}':12}" + _per_split(places)
        different = [value for value in different if to_number(value) is None]
    for value in different:
        yield f"{f'{label}: {value}':36}" + _per_split({split: counts[split, value] for split in SPLITS})


def _per_split(counts: Mapping[Split, int]) -> str:
    return "".join(f"{counts[split]:>12}" for split in SPLITS)
