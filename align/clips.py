"""Recordings in memory or mapped from disk, as clips of one length.

A table is decoded into memory as 16-bit PCM when it is opened; what `align.prepare` left is mapped and never read as a
whole. It knows neither reports nor encoders.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from datasets import DatasetDict, load_from_disk
from numpy.typing import NDArray
from tqdm import tqdm

from align.audio import load
from align.corpora import CorpusError, Recording, read_table
from align.corpora.inspection import BAD_SHARE
from align.files import relative
from align.preparation import to_pcm
from align.shards import LOADABLE
from edge.errors import AudioError

Pcm = NDArray[np.int16]
FULL_SCALE = 32768.0


class Clips:
    """Recordings with their names in tables of reports, their samples (int16), and what could not be read."""

    def __init__(self, rows: list[Recording], keys: list[str], samples: Sequence[Pcm], skipped: list[str]) -> None:
        self.rows, self.keys, self._samples, self.skipped = rows, keys, samples, skipped

    def __len__(self) -> int:
        return len(self.rows)

    def samples(self, index: int) -> Pcm:
        """All samples of a recording."""
        return self._samples[index]

    def keep(self, kept: Sequence[int]) -> Clips:
        """The recordings at these places."""
        rows, keys = [self.rows[index] for index in kept], [self.keys[index] for index in kept]
        return Clips(rows, keys, _Picked(self._samples, kept), self.skipped)


class _Picked(Sequence[Pcm]):
    """Places of a sequence, not copied."""

    def __init__(self, samples: Sequence[Pcm], kept: Sequence[int]) -> None:
        self.base, self.kept = samples, list(kept)

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Pcm:  # type: ignore[override]
        return self.base[self.kept[index]]


def open_clips(source: Path, sample_rate_hz: int, corpora: Sequence[str] = ()) -> Clips:
    """Open a table, or a folder that `align.prepare` wrote.

    Args:
        source: the CSV, or the folder.
        sample_rate_hz: of the samples; a prepared folder must have this one.
        corpora: those to open; empty means all.

    Raises:
        CorpusError: it is neither, has another rate or no such corpus, has a person in two splits, or more than one
            file in a hundred cannot be used.
    """
    if source.is_dir():
        return _open_prepared(source, sample_rate_hz, corpora)
    rows = _of_corpora(read_table(source), corpora, source)
    return _decode(rows, source, sample_rate_hz)


def crop(samples: Pcm, length: int, start: int) -> NDArray[np.float32]:
    """`length` samples in [-1, 1] from `start` on; a recording that ends before is heard again from its beginning."""
    if start + length <= len(samples):
        piece = samples[start : start + length]
    else:
        piece = np.resize(np.roll(samples, -start), length)
    return piece.astype(np.float32) / np.float32(FULL_SCALE)


def _decode(rows: list[Recording], source: Path, sample_rate_hz: int) -> Clips:
    def one(row: Recording) -> Pcm | str:
        try:
            return to_pcm(load(row.path, sample_rate_hz))
        except AudioError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        decoded = list(tqdm(pool.map(one, rows), total=len(rows), desc="decode", unit="file"))
    skipped = [reason for reason in decoded if isinstance(reason, str)]
    if len(skipped) > BAD_SHARE * len(rows):
        raise CorpusError(
            f"{source}: {len(skipped)} of {len(rows)} recordings cannot be used, more than {BAD_SHARE:.0%}; "
            f"the first: {skipped[0]}"
        )
    usable = [(row, samples) for row, samples in zip(rows, decoded, strict=True) if not isinstance(samples, str)]
    keys = [relative(row.path, source.parent) for row, _ in usable]
    return Clips([row for row, _ in usable], keys, [samples for _, samples in usable], skipped)


class _Mapped(Sequence[Pcm]):
    """Samples of a prepared corpus, split after split, read from the map when they are asked for."""

    def __init__(self, splits: DatasetDict) -> None:
        self.tables = [split.with_format("arrow") for split in splits.values()]
        self.ends = np.cumsum([len(table) for table in self.tables])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, index: int) -> Pcm:  # type: ignore[override]
        table = int(np.searchsorted(self.ends, index, side="right"))
        row = index - (int(self.ends[table - 1]) if table else 0)
        column = self.tables[table][row : row + 1]["samples"].combine_chunks()
        return np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.int16)


def read_prepared(folder: Path) -> list[Recording]:
    """The recordings of a folder that `align.prepare` wrote, by the paths that it stored; no samples are opened.

    Raises:
        CorpusError: it holds no finished preparation.
    """
    return _rows(_load_prepared(folder))


def _open_prepared(folder: Path, sample_rate_hz: int, corpora: Sequence[str]) -> Clips:
    splits = _load_prepared(folder)
    rates = {rate for split in splits.values() for rate in split.unique("sample_rate_hz")}
    if rates - {sample_rate_hz}:
        raise CorpusError(
            f"{folder}: prepared at {min(rates)} Hz, the encoder hears {sample_rate_hz} Hz; prepare it again with "
            f"--sample_rate_hz {sample_rate_hz}"
        )
    rows = _rows(splits)
    clips = Clips(rows, [row.path.as_posix() for row in rows], _Mapped(splits), [])
    wanted = {row.path for row in _of_corpora(rows, corpora, folder)}
    return clips.keep([index for index, row in enumerate(rows) if row.path in wanted])


def _load_prepared(folder: Path) -> DatasetDict:
    if not (folder / LOADABLE).is_file():
        raise CorpusError(f"{folder}: holds no finished preparation; run python -m align.prepare into it")
    return load_from_disk(str(folder))


def _rows(splits: DatasetDict) -> list[Recording]:
    """In the order of the samples."""
    # Without a format the cells are Python's own: NumPy's would round the times to 32 bits.
    return [
        _recording(cells, name)
        for name, split in splits.items()
        for cells in split.remove_columns(["samples", "sample_rate_hz"]).with_format(None)
    ]


def _recording(cells: dict[str, object], split: str) -> Recording:
    given = dict(cells)
    given |= {name: json.loads(str(given[name])) for name in ("labels", "metadata")}
    given |= {"path": Path(str(given["path"])), "split": split, "times_s": tuple(map(tuple, given["times_s"]))}  # type: ignore[call-overload]
    return Recording(**given)  # type: ignore[arg-type]


def _of_corpora(rows: list[Recording], corpora: Sequence[str], source: Path) -> list[Recording]:
    unknown = set(corpora) - {row.corpus for row in rows}
    if unknown:
        raise CorpusError(f"{source}: no corpus {', '.join(sorted(unknown))}")
    return [row for row in rows if not corpora or row.corpus in corpora]
