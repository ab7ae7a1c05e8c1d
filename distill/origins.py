"""Which corpora a student has heard, for its checkpoint and, later, its bundle's manifest and card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from align.corpora import Recording


def corpora_of(rows: Sequence[Recording]) -> list[dict[str, Any]]:
    """Name, licences and number of recordings of each corpus, by name."""
    return [
        {
            "name": name,
            "licences": sorted({row.licence for row in rows if row.corpus == name and row.licence}),
            "recordings": sum(row.corpus == name for row in rows),
        }
        for name in sorted({row.corpus for row in rows})
    ]
