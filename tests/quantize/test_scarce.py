"""Labels with too few held-out recordings stay out of the bundle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.corpora import Recording
from align.corpora.recording import Split
from edge.errors import UserError
from quantize.checkpoint import Checkpoint
from quantize.graph import TorchBackend
from quantize.scarce import HeldOut, LeftOut, never_labels, scarce, without


def _rows(event: str, count: int, people: int) -> list[Recording]:
    return [
        Recording(Path(f"{event}-{number}.wav"), "own", f"{event}-{number % people}", "test", "airborne", event)
        for number in range(count)
    ]


@pytest.mark.parametrize(
    ("clips", "people", "stays"), [(30, 10, True), (29, 29, False), (100, 9, False), (1, 1, False)]
)
def test_label_needs_thirty_recordings_of_ten_sources(clips: int, people: int, stays: bool) -> None:
    splits: dict[Split, list[Recording]] = {
        "train": _rows("sneeze", 500, 100),
        "validation": _rows("cough", 20, 20),
        "test": [*_rows("cough", 20, 20), *_rows("sneeze", clips, people)],
    }
    found = scarce(["cough", "sneeze"], splits)
    assert [one.label for one in found] == ([] if stays else ["sneeze"])
    if not stays:
        assert found[0].reason.startswith(f"{clips} held-out recordings from {people} sources; 30 from 10 are needed")


def test_other_sounds_are_counted_among_what_training_did_not_hear() -> None:
    splits: dict[Split, list[Recording]] = {
        "train": _rows("snoring", 50, 50),
        "validation": [*_rows("sneeze", 20, 20), *_rows("cough", 5, 5)],
        "test": [*_rows("non_cough", 40, 12), *_rows("dog", 40, 9), *_rows("", 3, 3)],
    }
    found = never_labels(["cough"], splits)
    assert found == (HeldOut("dog", 40, 9), HeldOut("non_cough", 40, 12), HeldOut("sneeze", 20, 20))
    assert [one.enough for one in found] == [False, True, False]


def test_no_label_left_is_told_in_one_line() -> None:
    splits: dict[Split, list[Recording]] = {"train": [], "validation": _rows("cough", 3, 3), "test": []}
    with pytest.raises(UserError, match="no label can ship: cough has 3 held-out recordings") as caught:
        scarce(["cough"], splits)
    assert "\n" not in str(caught.value)


def test_student_without_a_label_scores_the_others_as_before(checkpoint: Checkpoint) -> None:
    window = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    left = without(checkpoint, [LeftOut("breath", 3, 3)])
    assert left.labels == ("cough", "speech")
    whole, part = TorchBackend(checkpoint).infer(window), TorchBackend(left).infer(window)
    np.testing.assert_allclose(part.scores, whole.scores[:, [0, 2]], atol=1e-6)
    np.testing.assert_array_equal(part.embedding, whole.embedding)
