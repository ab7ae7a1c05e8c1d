"""Laws of the splits: groups stay whole, classes are spread, order does not matter, leaks are found and mended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.corpora import CorpusError, Recording
from align.corpora.recording import Split
from align.corpora.splits import find_leaks, hold_out, keep_together, refuse_leaks, split_by_group


def recording(group: str, number: int = 0, split: Split = "train", **labels: str) -> Recording:
    return Recording(Path(f"{group}-{number}.wav"), "c", group, split, "lung", "breath", labels=labels)


def who(rows: Sequence[Recording], split: Split) -> str:
    return "".join(row.group for row in rows if row.split == split)


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), min_size=1, max_size=120), st.randoms())
def test_groups_stay_whole_whatever_the_order(drawn: list[tuple[int, str]], random: object) -> None:
    rows = [recording(f"g{group}", place, dx=value) for place, (group, value) in enumerate(drawn)]
    split = {row.path: row.split for row in split_by_group(rows, "dx")}
    assert not find_leaks(split_by_group(rows, "dx"))
    random.shuffle(rows)  # type: ignore[attr-defined]
    assert {row.path: row.split for row in split_by_group(rows, "dx")} == split


@given(st.integers(1, 300))
def test_shares_are_met_to_within_one_group(groups: int) -> None:
    counts = Counter(row.split for row in split_by_group([recording(f"g{number}") for number in range(groups)]))
    for split, share in {"train": 0.7, "validation": 0.1, "test": 0.2}.items():
        assert abs(counts[split] - share * groups) <= 1  # type: ignore[index]


def test_every_class_is_tested_in_proportion() -> None:
    rows = [
        recording(f"{value}{number}", dx=value)
        for value, many in (("a", 100), ("b", 20), ("c", 6))
        for number in range(many)
    ]
    tested = Counter(row.labels["dx"] for row in split_by_group(rows, "dx") if row.split == "test")
    assert tested["a"] in (19, 20, 21)
    assert tested["b"] in (3, 4, 5)
    assert tested["c"] in (1, 2)


def test_people_stay_where_earlier_versions_put_them() -> None:
    """Else people whom a student of an earlier version has heard would be tested, and no figure could be had again."""
    rows = [recording(name) for name in "abcdefghijklmnopqrstuvwxyz"]
    assert who(split_by_group(rows), "test") == "bdjrt"
    assert who(split_by_group(rows), "validation") == "gin"
    assert who(hold_out(rows, 0.2, seed=0), "validation") == "hy"
    assert who(hold_out(rows, 0.2, seed=1), "validation") == "dipv"


def test_person_in_training_and_validation_goes_to_training_whole() -> None:
    mended, _ = keep_together([recording("ann"), recording("ann", 1, "validation")])
    assert [row.split for row in mended] == ["train", "train"]


def test_person_on_both_sides_goes_to_training_whole() -> None:
    rows = [recording("ann"), recording("ann", 1, "test"), recording("bob", 0, "test"), recording("cid")]
    mended, (note,) = keep_together(rows)
    assert [row.split for row in mended] == ["train", "train", "test", "train"]
    assert mended[1].metadata == {"official_split": "test"}
    assert "1 of the official split's people" in note
    assert "1 recordings" in note


def test_leak_is_told_by_name() -> None:
    with pytest.raises(CorpusError, match=r"mine: group ann is in train and in test; keep a person in one split"):
        refuse_leaks("mine", [recording("ann"), recording("ann", 1, "test"), recording("bob", 0, "test")])
