"""The terms of the loss: which there are, by which weight, and what does not go together."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from align.config import ObjectiveSettings
from align.heads import Alignment, LabelLoss
from align.objectives import ObjectiveError

SIZE, TEXT_SIZE, BATCH = 8, 6, 12
UNKNOWN = float("nan")


def alignment(tasks: int = 2, **settings: Any) -> Alignment:
    torch.manual_seed(0)
    made = Alignment(ObjectiveSettings(**settings), SIZE, TEXT_SIZE, tasks)
    made.geometry.fit(torch.randn(50, TEXT_SIZE))
    return made.eval()


def batch() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    answers = (torch.rand(BATCH, 2, generator=generator) < 0.5).float()
    text = torch.randn(BATCH, TEXT_SIZE, generator=generator)
    return torch.randn(BATCH, SIZE, generator=generator), text, torch.arange(BATCH), answers


@pytest.mark.parametrize(
    ("settings", "terms"),
    [
        ({}, {"alignment", "pointwise"}),
        ({"pointwise": 0.0}, {"alignment"}),
        ({"name": "infonce"}, {"alignment", "pointwise"}),
        ({"name": "siglip", "pointwise": 0.0, "text": "head"}, {"alignment"}),
        ({"name": "released"}, {"alignment"}),
        ({"name": "labels"}, {"labels"}),
        ({"name": "none"}, set()),
        ({"text": "head", "pointwise": 0.0, "variance_covariance": 1.0}, {"alignment", "collapse"}),
        ({"text": "whitened", "text_size": 3, "audio_head": "mlp", "queue": 30}, {"alignment", "pointwise"}),
    ],
)
def test_settings_say_which_terms_there_are(settings: dict[str, Any], terms: set[str]) -> None:
    losses = alignment(**settings)(*batch())
    assert set(losses) == terms
    assert all(loss.ndim == 0 and loss.isfinite() for loss in losses.values())


def test_terms_come_with_their_weights() -> None:
    ones = {"weight": 1.0, "pointwise": 1.0, "variance_covariance": 1.0}
    others = {"weight": 0.5, "pointwise": 3.0, "variance_covariance": 0.25}
    plain, weighted = alignment(**ones)(*batch()), alignment(**others)(*batch())
    for term, factor in (("alignment", 0.5), ("pointwise", 3.0), ("collapse", 0.25)):
        torch.testing.assert_close(weighted[term], factor * plain[term])


def test_guard_against_collapse_minds_the_text_side_if_it_is_trained() -> None:
    made = alignment(text="head", pointwise=0.0, variance_covariance=1.0)
    embeddings, text, *others = batch()
    guard = made.terms["collapse"]
    expected = guard(made.audio_head(embeddings)) + guard(made.text_side(text))
    torch.testing.assert_close(made(embeddings, text, *others)["collapse"], expected)


@pytest.mark.parametrize("name", ["cka", "released"])
def test_pointwise_with_a_trained_text_side_is_refused(name: str) -> None:
    with pytest.raises(ObjectiveError, match=r"objective\.pointwise regresses onto a fixed text side; set it to 0"):
        alignment(name=name, text="head", pointwise=1.0)


def test_labels_without_questions_are_refused() -> None:
    with pytest.raises(ObjectiveError, match=r"labels answers the questions of --tasks; there are none"):
        alignment(tasks=0, name="labels")


def test_centred_text_of_another_size_is_refused_before_training() -> None:
    with pytest.raises(ObjectiveError, match="centred text keeps its 6 dimensions, not 3; whiten to have fewer"):
        alignment(text="centred", text_size=3)


@pytest.mark.parametrize(("text", "size"), [("centred", TEXT_SIZE), ("whitened", 3), ("head", 5)])
def test_audio_ends_where_the_text_lies(text: str, size: int) -> None:
    made = alignment(text=text, text_size=0 if text == "centred" else size, pointwise=0.0)
    embeddings, reports, *_ = batch()
    assert made.audio_head(embeddings).shape == made.text_side(reports).shape == (BATCH, size)


def test_fixed_text_side_has_nothing_to_train_and_a_head_has() -> None:
    assert all(name.startswith("audio_head") for name, _ in alignment().named_parameters())
    made = alignment(text="head", pointwise=0.0)
    made(*batch())["alignment"].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in made.text_head.parameters())


def test_released_loss_does_not_see_the_pairing_and_the_default_does() -> None:
    embeddings, text, ids, answers = batch()
    released, ours = alignment(name="released"), alignment(pointwise=0.0)
    torch.testing.assert_close(
        released(embeddings, text.flip(0), ids, answers)["alignment"],
        released(embeddings, text, ids, answers)["alignment"],
    )
    moved = (
        ours(embeddings, text.flip(0), ids, answers)["alignment"] - ours(embeddings, text, ids, answers)["alignment"]
    )
    assert moved.abs() > 0.01


def test_contrast_does_not_push_from_an_equal_report_of_another() -> None:
    made = alignment(name="infonce", pointwise=0.0)
    embeddings, text, ids, answers = batch()
    equal = text.clone()
    equal[1:6] = equal[0]
    same = torch.cat([torch.zeros(6, dtype=torch.int64), ids[6:]])
    told, not_told = (made(embeddings, equal, numbers, answers)["alignment"] for numbers in (same, ids))
    assert told < not_told


def test_labels_are_learnt_without_any_report() -> None:
    made = alignment(name="labels")
    embeddings, text, ids, answers = batch()
    embeddings.requires_grad_()
    loss = made(embeddings, text, ids, answers)["labels"]
    loss.backward()
    assert embeddings.grad is not None and embeddings.grad.any()
    assert torch.equal(made(embeddings, text + 5, ids, answers)["labels"], loss)


def test_label_loss_is_the_mean_over_tasks_of_the_mean_over_known_answers() -> None:
    torch.manual_seed(0)
    loss = LabelLoss(SIZE, 3)
    embeddings = torch.randn(4, SIZE, requires_grad=True)
    answers = torch.tensor([[1, UNKNOWN, UNKNOWN], [0, 1, UNKNOWN], [UNKNOWN, 0, UNKNOWN], [1, UNKNOWN, UNKNOWN]])
    logits = loss.answer(embeddings)
    first = F.binary_cross_entropy_with_logits(logits[[0, 1, 3], 0], torch.tensor([1.0, 0.0, 1.0]))
    second = F.binary_cross_entropy_with_logits(logits[[1, 2], 1], torch.tensor([1.0, 0.0]))
    found = loss(embeddings, answers)
    torch.testing.assert_close(found, (first + second + 0) / 3)
    found.backward()
    assert embeddings.grad is not None and embeddings.grad.isfinite().all()


def test_label_loss_of_which_nothing_is_known_is_zero() -> None:
    assert LabelLoss(SIZE, 2)(torch.randn(4, SIZE), torch.full((4, 2), UNKNOWN)) == 0


def test_settings_that_leave_nothing_to_learn_are_refused() -> None:
    with pytest.raises(ObjectiveError, match="leave nothing to learn"):
        alignment(name="none", preservation=0.0)
