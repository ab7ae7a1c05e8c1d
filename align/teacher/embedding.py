"""Reports to embeddings: each distinct text is read once, by a frozen teacher, and never again while its cache lasts.

Does: tells known texts from new ones, puts the new ones in batches of like length, keeps each batch as it is done, and
says how many reports were cut. Does not: change a text, or load a model where every text is known.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from align.teacher.cache import EmbeddingCache
from align.teacher.errors import TeacherError
from align.teacher.source import find
from align.teacher.spec import TeacherSpec

if TYPE_CHECKING:
    from align.teacher.text_model import TextModel

FORMAT = 1
"""Of how embeddings come about; part of a cache's name, so that those that came about otherwise are made anew."""


def embed(
    texts: Sequence[str], spec: TeacherSpec, cache: Path, *, batch_size: int = 32, device: str = "auto"
) -> NDArray[np.float32]:
    """The embeddings of texts, from the cache where they are there.

    Stops and resumes: what was finished before is not read again. Several processes may ask at the same time; one does
    the work.

    Args:
        texts: reports, in any order; may repeat.
        spec: the teacher.
        cache: folder of the embeddings of all teachers; made if need be.
        batch_size: texts read at once.
        device: as torch names it; auto is a GPU if there is one. The teacher runs in bfloat16 on a GPU, else in
            float32.

    Returns:
        (len(texts), width) float32, one row a text, in their order.

    Raises:
        TeacherError: a text is empty, the teacher cannot be loaded or run, or the cache cannot be read or written.
    """
    if batch_size < 1 or not texts:
        raise TeacherError(f"{len(texts)} reports in batches of {batch_size}: both must be at least 1")
    digests = [_digest(row, text) for row, text in enumerate(texts)]
    # The first row of each distinct text, which stands for all of them.
    first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    source = find(spec)
    settings = spec.model_dump(include={"layer", "pooling", "max_tokens"})
    kept = EmbeddingCache(cache, {"format": FORMAT, "model": source.identity, **settings}, first)
    if len(kept.rows) < len(first):
        with kept.writing():
            new = {digest: texts[row] for digest, row in first.items() if digest not in kept.rows}
            if new:
                from align.teacher.text_model import load

                _compute(new, first, kept, load(source.folder(spec), spec, device), batch_size)
    _tell_cut([row.lost for row in kept.rows.values()], spec)
    return np.stack([kept.rows[digest].vector for digest in digests])


def _compute(
    new: Mapping[bytes, str], first: Mapping[bytes, int], kept: EmbeddingCache, model: TextModel, batch_size: int
) -> None:
    """Embed the new texts, the longest first: what does not fit into memory shows at once."""
    tokens = dict(zip(new, model.tokenize(list(new.values())), strict=True))
    order = sorted(new, key=lambda digest: len(tokens[digest].ids), reverse=True)
    if not tokens[order[-1]].ids:
        raise TeacherError(f"row {first[order[-1]]}: the teacher finds no token in this report (the first row is 0)")
    done = len(kept.rows)
    with tqdm(total=len(first), initial=done, desc="embed reports", unit="report", file=sys.stderr) as bar:
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            vectors = model.embed([tokens[digest].ids for digest in batch])
            finite = np.isfinite(vectors).all(axis=1)
            if not finite.all():
                row = first[batch[int(finite.argmin())]]
                raise TeacherError(
                    f"row {row}: its embedding is not finite (the first row is 0); is the teacher damaged?"
                )
            kept.add(batch, vectors, [tokens[digest].lost for digest in batch])
            bar.update(len(batch))


def _digest(row: int, text: str) -> bytes:
    if not text or not text.strip():
        raise TeacherError(f"row {row}: the report is empty (the first row is 0); leave the row out")
    try:
        return hashlib.sha256(text.encode()).digest()
    except UnicodeEncodeError as error:
        raise TeacherError(f"row {row}: the report is no valid Unicode (the first row is 0)") from error


def _tell_cut(lost: Sequence[int], spec: TeacherSpec) -> None:
    cut = sum(count > 0 for count in lost)
    if cut:
        print(
            f"warning: {cut} of {len(lost)} different reports are longer than {spec.model} reads (max_tokens "
            f"{spec.max_tokens}) and were cut, the longest by {max(lost)} tokens",
            file=sys.stderr,
        )
