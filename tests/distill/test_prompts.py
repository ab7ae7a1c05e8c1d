"""A text's direction becomes a direction of the student's space."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from align.config import ObjectiveSettings
from align.heads import Alignment
from align.teacher.spec import TeacherSpec
from distill.checkpoint import StudentError
from distill.prompts import TextMap, fit_text_map

TEACHER, SIDE, SIZE, VIEWS = 12, 6, 8, 400
SPEC = TeacherSpec.model_validate({"model": "minilm"})


def alignment(**changes: Any) -> Alignment:
    """Audio head and text side of a teacher; its text side was fitted to random texts."""
    torch.manual_seed(0)
    made = Alignment(ObjectiveSettings.model_validate(changes), TEACHER, SIDE, 0)
    if made.settings.text != "head":
        made.geometry.fit(torch.randn(50, SIDE) + 3.0)
    return made


@pytest.fixture
def views() -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a student that is a linear image of its teacher, and the teacher's."""
    rng = np.random.default_rng(0)
    teacher = rng.standard_normal((VIEWS, TEACHER)).astype(np.float32)
    student = teacher @ rng.standard_normal((TEACHER, SIZE)).astype(np.float32) + 2.0
    return student.astype(np.float32), teacher


@pytest.mark.parametrize("text", ["centred", "whitened"])
def test_a_label_ranks_views_as_the_teacher_would(views: tuple[np.ndarray, np.ndarray], text: str) -> None:
    student, teacher = views
    aligned = alignment(text=text)
    text_map = fit_text_map(student, teacher, aligned, SPEC)
    assert text_map.agreement > 0.6
    rng = np.random.default_rng(1)
    positive, negative = rng.standard_normal((2, SIDE)).astype(np.float32) + 3.0
    weight, bias = text_map.row(positive, negative)
    logits = student @ weight.numpy() + float(bias)
    with torch.inference_mode():
        audio = torch.nn.functional.normalize(aligned.eval().audio_head(torch.from_numpy(teacher)), dim=1)
        sides = aligned.text_side(torch.from_numpy(np.stack([positive, negative])))
    wanted = (audio @ (sides[0] - sides[1])).numpy()
    # The student has two thirds of the teacher's dimensions, so it cannot know all.
    assert np.corrcoef(logits, wanted)[0, 1] > 0.7


def test_logits_have_mean_0_and_deviation_1_over_the_views(views: tuple[np.ndarray, np.ndarray]) -> None:
    text_map = fit_text_map(*views, alignment(), SPEC)
    weight, bias = text_map.row(np.arange(SIDE, dtype=np.float32), np.ones(SIDE, dtype=np.float32))
    logits = views[0] @ weight.numpy() + float(bias)
    assert logits.mean() == pytest.approx(0, abs=1e-3)
    assert logits.std() == pytest.approx(1, rel=1e-2)


def test_agreement_is_the_mean_cosine_to_where_the_teacher_puts_the_same_views(
    views: tuple[np.ndarray, np.ndarray],
) -> None:
    student, teacher = views
    aligned = alignment()
    text_map = fit_text_map(student, teacher, aligned, SPEC)
    with torch.inference_mode():
        target = torch.nn.functional.normalize(aligned.audio_head(torch.from_numpy(teacher)), dim=1)
    told = (torch.from_numpy(student) - text_map.mean) @ text_map.weight.T + target.mean(dim=0)
    assert text_map.agreement == pytest.approx(float(torch.cosine_similarity(told, target).mean()), abs=1e-4)


def test_the_teachers_head_is_asked_as_it_is_used(views: tuple[np.ndarray, np.ndarray]) -> None:
    """Without dropout, whatever mode it comes in."""
    aligned = alignment(audio_head="mlp").train()
    first = fit_text_map(*views, aligned, SPEC)
    assert torch.equal(fit_text_map(*views, aligned.train(), SPEC).weight, first.weight)


def test_a_dimension_of_the_student_that_says_nothing_is_no_error(views: tuple[np.ndarray, np.ndarray]) -> None:
    student, teacher = views
    with_dead_one = np.concatenate([student, np.zeros((VIEWS, 1), np.float32)], axis=1)
    found = fit_text_map(with_dead_one, teacher, alignment(), SPEC)
    assert found.agreement == pytest.approx(fit_text_map(student, teacher, alignment(), SPEC).agreement, abs=1e-3)


def test_exchanged_texts_exchange_the_answer(views: tuple[np.ndarray, np.ndarray]) -> None:
    text_map = fit_text_map(*views, alignment(), SPEC)
    one, other = np.arange(SIDE, dtype=np.float32), np.ones(SIDE, dtype=np.float32)
    assert torch.allclose(text_map.row(one, other)[0], -text_map.row(other, one)[0])


def test_one_text_twice_is_refused(views: tuple[np.ndarray, np.ndarray]) -> None:
    text_map = fit_text_map(*views, alignment(), SPEC)
    same = np.arange(SIDE, dtype=np.float32)
    with pytest.raises(StudentError, match="mean the same to the student"):
        text_map.row(same, same)


def test_a_map_survives_its_checkpoint(views: tuple[np.ndarray, np.ndarray]) -> None:
    text_map = fit_text_map(*views, alignment(text="whitened", text_size=4), SPEC)
    again = TextMap.from_state(text_map.state())
    one, other = np.arange(SIDE, dtype=np.float32), np.ones(SIDE, dtype=np.float32)
    assert torch.equal(text_map.row(one, other)[0], again.row(one, other)[0])
    state = text_map.state()
    del state["covariance"]
    with pytest.raises(StudentError, match="teach again"):
        TextMap.from_state(state)


def test_a_text_side_that_was_trained_is_refused(views: tuple[np.ndarray, np.ndarray]) -> None:
    trained = alignment(name="infonce", text="head", pointwise=0.0)
    with pytest.raises(StudentError, match="trained text head"):
        fit_text_map(*views, trained, SPEC)
