"""Hold out a validation split by group, the same for the same seed on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from align.corpora.recording import Recording


def hold_out(recordings: Iterable[Recording], fraction: float, seed: int) -> list[Recording]:
    """Mark a `fraction` of the training groups as validation.

    A group's place is a hash of (seed, group), so adding recordings moves nobody and no order or library version
    matters. Groups are persons, so no person is in two splits. Test recordings pass through unchanged.
    """
    return [
        replace(row, split="validation") if row.split == "train" and _place(row.group, seed) < fraction else row
        for row in recordings
    ]


def _place(group: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
