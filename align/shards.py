"""Recordings as Arrow files of 16-bit PCM, which Hugging Face `datasets` maps into memory.

Does: writes one shard whole or not at all, tells whether a shard on disk is still what would be written now, and joins
shards into the folder that `datasets.load_from_disk` opens. Does not: decode, or know a corpus.

A shard is written beside its place and moved there when all of it is on disk, and `dataset_dict.json`, without which
the folder cannot be loaded, is written last and removed first. So nothing half-written is ever trusted, by a later run
or by a training.

Rows: `path`, `corpus`, `group`, `modality`, `event`, `licence` (text), `times_s` (pairs of seconds), `labels` and
`metadata` (JSON objects as text, because every corpus has others), `sample_rate_hz`, `samples` (int16, 32768 for 1; the
library hands them out as NumPy's int64 unless another format is asked for).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import DatasetInfo, Features, List, Value
from numpy.typing import NDArray

from align.corpora.recording import Recording, Split
from align.files import relative, write_whole, writing_whole

FEATURES = Features(
    {
        "path": Value("string"),
        "corpus": Value("string"),
        "group": Value("string"),
        "modality": Value("string"),
        "event": Value("string"),
        "licence": Value("string"),
        "times_s": List(List(Value("float64"))),
        "labels": Value("string"),
        "metadata": Value("string"),
        "sample_rate_hz": Value("int32"),
        "samples": List(Value("int16")),
    }
)
FORMAT = 1
"""Of the rows; part of a shard's key, so that shards of another format are written anew."""

LOADABLE = "dataset_dict.json"


@dataclass(frozen=True)
class Shard:
    """Recordings that are stored in one file."""

    split: Split
    number: int
    recordings: tuple[Recording, ...]

    def path(self, output: Path) -> Path:
        """Its place in the folder `output`."""
        return output / self.split / f"shard-{self.number:05d}.arrow"


@dataclass(frozen=True)
class Skipped:
    """A recording that is not in a shard, and why."""

    path: str
    reason: str


def key_of(shard: Shard, root: Path, sample_rate_hz: int) -> str:
    """A digest of all that a shard is made from: its rows, the size and time of their files, rate and format."""
    digest = hashlib.sha256(f"{FORMAT} {sample_rate_hz}".encode())
    for row in shard.recordings:
        fields = asdict(row) | {"path": relative(row.path, root)}
        try:
            status = row.path.stat()
            # A file that may not be read is as good as none: permission, once given, changes neither size nor time.
            fields["file"] = (status.st_size, status.st_mtime_ns) if os.access(row.path, os.R_OK) else None
        except (OSError, ValueError):  # ValueError: a table's path with a NUL in it
            fields["file"] = None
        digest.update(json.dumps(fields, sort_keys=True).encode())
    return digest.hexdigest()


def find_done(shard: Shard, output: Path, key: str) -> list[Skipped] | None:
    """The recordings that were left out of the shard if it is on disk, made from the same things; None if it is not.

    Bad files are not decoded again to find them bad: one that was mended has another size or time, and so another key.
    """
    path = shard.path(output)
    try:
        written = json.loads(_note(path).read_text(encoding="utf-8"))
        skipped = [Skipped(**row) for row in written["skipped"]]
        return skipped if path.is_file() and written["key"] == key else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_shard(
    shard: Shard,
    output: Path,
    root: Path,
    key: str,
    decoded: Iterable[NDArray[np.int16] | Skipped],
    sample_rate_hz: int,
) -> list[Skipped]:
    """Write a shard from the samples, shape (samples,), of each of its recordings, in order.

    Returns:
        The recordings that are not in it.

    Raises:
        OSError: the disk is full or cannot be written; nothing of this shard is left.
    """
    path = shard.path(output)
    skipped: list[Skipped] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    # While the shard is replaced there is no note beside it, so that it is not taken for the new one.
    _note(path).unlink(missing_ok=True)
    with writing_whole(path) as file, pa.ipc.new_stream(file, FEATURES.arrow_schema) as stream:
        for row, samples in zip(shard.recordings, decoded, strict=True):
            if isinstance(samples, Skipped):
                skipped.append(samples)
            else:
                stream.write_batch(_batch(row, relative(row.path, root), samples, sample_rate_hz))
    write_whole(_note(path), json.dumps({"key": key, "skipped": [asdict(row) for row in skipped]}))
    return skipped


def unseal(output: Path) -> None:
    """Make the folder unloadable while shards in it change."""
    (output / LOADABLE).unlink(missing_ok=True)


def seal(output: Path, shards: Sequence[Shard], keys: Sequence[str]) -> None:
    """Join the shards into what `datasets.load_from_disk` opens, and remove shards that earlier runs left beside them.

    Raises:
        OSError: the disk is full or cannot be written; the folder is not loadable.
    """
    splits = list(dict.fromkeys(shard.split for shard in shards))
    sealed = json.dumps({"splits": splits, "key": _digest(keys)})
    if (output / LOADABLE).is_file() and (output / LOADABLE).read_text(encoding="utf-8") == sealed:
        return
    unseal(output)
    wanted = {shard.path(output) for shard in shards}
    for old in output.glob("*/shard-*"):
        if old.with_suffix(".arrow") not in wanted:
            old.unlink()
    for split in splits:
        files = [shard.path(output).name for shard in shards if shard.split == split]
        DatasetInfo(features=FEATURES).write_to_directory(str(output / split))
        state: dict[str, object] = {
            "_data_files": [{"filename": name} for name in files],
            "_fingerprint": _digest(key for shard, key in zip(shards, keys, strict=True) if shard.split == split)[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": "numpy",
            "_output_all_columns": False,
            "_split": split,
        }
        write_whole(output / split / "state.json", json.dumps(state))
    write_whole(output / LOADABLE, sealed)


def _batch(row: Recording, path: str, samples: NDArray[np.int16], sample_rate_hz: int) -> pa.RecordBatch:
    values: dict[str, Any] = {
        "path": path,
        "corpus": row.corpus,
        "group": row.group,
        "modality": row.modality,
        "event": row.event,
        "licence": row.licence,
        "times_s": [list(span) for span in row.times_s],
        "labels": json.dumps(row.labels, sort_keys=True, ensure_ascii=False),
        "metadata": json.dumps(row.metadata, sort_keys=True, ensure_ascii=False),
        "sample_rate_hz": sample_rate_hz,
        "samples": samples,
    }
    schema = FEATURES.arrow_schema
    columns = [pa.array([values[field.name]], type=field.type) for field in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _note(shard: Path) -> Path:
    return shard.with_suffix(".json")


def _digest(keys: Iterable[str]) -> str:
    return hashlib.sha256(" ".join(keys).encode()).hexdigest()
