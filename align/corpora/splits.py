"""Who is trained on, validated on and tested on: by group, the same on every machine.

Does: hold out a validation split, split a corpus that has no official split, mend an official split that has a person
on both sides, and find such persons. A group's place comes from a hash of its name: no order of files and no library's
version matters. Does not: read a corpus.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from align.corpora.recording import CorpusError, Recording, Split

SHARES: Mapping[Split, int] = {"train": 70, "validation": 10, "test": 20}
"""Per cent of the groups of a corpus without an official split."""


def hold_out(recordings: Iterable[Recording], fraction: float, seed: int) -> list[Recording]:
    """Mark a `fraction` of the training groups as validation.

    A group's place is a hash of (seed, group), so adding recordings moves nobody and no order or library version
    matters. Groups are persons, so no person is in two splits. Test recordings pass through unchanged.
    """
    return [
        replace(row, split="validation") if row.split == "train" and _place(row.group, seed) < fraction else row
        for row in recordings
    ]


def split_by_group(
    recordings: Sequence[Recording], label: str = "", shares: Mapping[Split, int] = SHARES
) -> list[Recording]:
    """Give every group a split, each value of `label` spread over the splits in proportion to `shares`.

    Groups stand in line, value by value and within a value by hash, and each goes to the split that is furthest behind
    its share. Small classes are so represented wherever they can be. The line depends on who is there: an incomplete
    copy of a corpus is split differently.
    """
    values: defaultdict[str, set[str]] = defaultdict(set)
    for row in recordings:
        values[row.group].add(row.labels.get(label, ""))
    line = sorted(values, key=lambda group: (sorted(values[group]), _place(group, 0)))
    counts = dict.fromkeys(shares, 0)
    split_of: dict[str, Split] = {}
    for place, group in enumerate(line, start=1):
        split = max(shares, key=lambda name: shares[name] * place - 100 * counts[name])
        counts[split] += 1
        split_of[group] = split
    return [replace(row, split=split_of[row.group]) for row in recordings]


def keep_together(recordings: Sequence[Recording]) -> tuple[list[Recording], list[str]]:
    """Move whoever is in several splits to training as a whole, and say who that was.

    To training and not to test, because encoders trained by others have heard the official training recordings. Moved
    recordings keep their old place as `official_split` in the metadata.
    """
    torn = find_leaks(recordings)
    mended = [
        replace(row, split="train", metadata=row.metadata | {"official_split": row.split})
        if row.group in torn and row.split != "train"
        else row
        for row in recordings
    ]
    if not torn:
        return mended, []
    moved = sum(row != was for row, was in zip(mended, recordings, strict=True))
    return mended, [f"{len(torn)} of the official split's people are on both sides of it: {moved} recordings to train"]


def find_leaks(recordings: Iterable[Recording]) -> dict[str, list[Split]]:
    """Groups that are in more than one split, with these splits."""
    splits: defaultdict[str, dict[Split, None]] = defaultdict(dict)
    for row in recordings:
        splits[row.group][row.split] = None
    return {group: list(found) for group, found in splits.items() if len(found) > 1}


def refuse_leaks(name: str, recordings: Iterable[Recording]) -> None:
    """Stop if anybody of the corpus `name` is in two splits.

    Raises:
        CorpusError: somebody is. The message names them, the first ten where they are more.
    """
    leaks = find_leaks(recordings)
    if leaks:
        named = ", ".join(
            f"group {group} is in {' and in '.join(splits)}" for group, splits in list(leaks.items())[:10]
        )
        more = f", and {len(leaks) - 10} more" if len(leaks) > 10 else ""
        raise CorpusError(f"{name}: {named}{more}; keep a person in one split")


def _place(group: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
