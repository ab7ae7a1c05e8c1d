"""One vector a report: of its whole text, or the mean over its sentences.

Read as a whole, a report's embedding is mostly about its longest part, commonly who the person is. As the mean over
sentences a finding of one sentence has the weight of a sentence, and a sentence that many reports share is read once.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.teacher.embedding import embed
from align.teacher.errors import TeacherError
from align.teacher.spec import TeacherSpec

SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")


def embed_reports(reports: Sequence[str], spec: TeacherSpec, cache: Path) -> NDArray[np.float32]:
    """(reports, width) float32, in their order.

    Args:
        reports: texts; may repeat.
        spec: the teacher and the unit it reads.
        cache: folder of the embeddings of all teachers.

    Raises:
        TeacherError: as `embed`.
    """
    if spec.unit == "report":
        return embed(reports, spec, cache)
    # `embed` would name the place of a sentence, not of the report.
    empty = [row for row, report in enumerate(reports) if not report.strip()]
    if empty:
        raise TeacherError(f"row {empty[0]}: the report is empty (the first row is 0); leave the row out")
    parts = [sentences(report) for report in reports]
    vectors = embed([sentence for part in parts for sentence in part], spec, cache)
    ends = np.cumsum([len(part) for part in parts])
    return np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])


def sentences(report: str) -> list[str]:
    """The sentences of a text, which must not be empty, each with its full stop."""
    return SENTENCE_END.split(report.strip())
