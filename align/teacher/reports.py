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
    parts = [sentences(report) for report in reports]
    vectors = embed([sentence for part in parts for sentence in part], spec, cache)
    ends = np.cumsum([len(part) for part in parts])
    return np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])


def sentences(report: str) -> list[str]:
    """The sentences of a text; one that is empty gives itself, for `embed` to refuse."""
    return [part for part in SENTENCE_END.split(report.strip()) if part] or [report]
