"""Questions: what their answer is, of a recording and of a person."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from align.corpora import CorpusError, Recording
from align.tasks import Task, examples
from tests.recordings import recording

MURMUR = Task(name="murmur", column="murmur", positive=("Present",), negative=("Absent",))
OPEN = Task(name="murmur", column="murmur", positive=("Present", "Loud"))
HEARD = Task(name="heard", column="murmur", positive=("Present",), negative=("Absent",), unit="recording")


@pytest.mark.parametrize(
    ("task", "value", "answer"),
    [
        (MURMUR, "Present", 1.0),
        (MURMUR, "Absent", 0.0),
        (MURMUR, "Unknown", math.nan),
        (MURMUR, None, math.nan),
        (OPEN, "Loud", 1.0),
        (OPEN, "Anything", 0.0),
        (OPEN, None, math.nan),
    ],
)
def test_answer_is_yes_no_or_unknown(task: Task, value: str | None, answer: float) -> None:
    row = recording("a.wav", "ann", **({"murmur": value} if value else {}))
    np.testing.assert_equal(task.answer(row), answer)


def test_answer_may_stand_in_labels_or_be_the_event() -> None:
    row = Recording(recording("a.wav", "ann").path, "c", "ann", "train", "lung", "wheeze", labels={"copd": "yes"})
    assert Task(name="copd", column="copd", positive=("yes",)).answer(row) == 1.0
    assert Task(name="wheeze", column="event", positive=("wheeze",)).answer(row) == 1.0
    assert Task(name="cough", column="event", positive=("cough",)).answer(row) == 0.0
    assert math.isnan(Task(name="cough", column="event", positive=("cough",)).answer(recording("b", "b", event="")))


ROWS = [
    recording("0.wav", "ann", murmur="Absent"),
    recording("1.wav", "bob", murmur="Unknown"),
    recording("2.wav", "cid", murmur="Absent"),
    recording("3.wav", "ann", murmur="Present"),
    recording("4.wav", "ann", murmur="Unknown"),
    recording("5.wav", "cid", murmur="Absent"),
]
EMBEDDINGS = np.array([[0, 1], [9, 9], [2, 2], [4, 3], [9, 9], [4, 8]], np.float32)


def test_person_is_the_mean_of_known_recordings_and_positive_if_any_is() -> None:
    found = examples(MURMUR, ROWS, EMBEDDINGS)
    assert found.groups == ("ann", "cid")
    np.testing.assert_array_equal(found.features, [[2, 2], [3, 5]])
    np.testing.assert_array_equal(found.answers, [True, False])


def test_recordings_are_asked_one_by_one_in_their_order() -> None:
    found = examples(HEARD, ROWS, EMBEDDINGS)
    assert found.groups == ("ann", "cid", "ann", "cid")
    np.testing.assert_array_equal(found.features, EMBEDDINGS[[0, 2, 3, 5]])
    np.testing.assert_array_equal(found.answers, [False, False, True, False])


def test_question_whose_answer_nobody_knows_is_one_line() -> None:
    task = Task(name="copd", column="copd", positive=("mild", "severe"))
    with pytest.raises(CorpusError, match=r"^task copd: no recording has copd = mild or severe$"):
        examples(task, ROWS, EMBEDDINGS)


def test_misspelt_setting_of_a_task_is_refused() -> None:
    with pytest.raises(ValidationError, match="postive"):
        Task.model_validate({"name": "copd", "column": "copd", "postive": ["yes"]})
