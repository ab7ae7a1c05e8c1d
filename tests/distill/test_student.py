"""The student's shape, size and operators."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from distill.student import ConvBlock, Form, Residual, Scorer, Student, StudentShape, joint_scores

FORMS: tuple[Form, ...] = ("dense", "depthwise")


@pytest.mark.parametrize("frames", [198, 398, 200, 37])
def test_one_step_every_four_frames(frames: int) -> None:
    embedding, scores = Scorer(Student(StudentShape(width=16))).eval()(torch.randn(2, 64, frames))
    assert embedding.shape == (2, 128)
    assert scores.shape == (2, -(-frames // 4), 3)
    assert ((scores >= 0) & (scores <= 1)).all()


def test_default_student_is_under_a_million_parameters() -> None:
    assert sum(parameter.numel() for parameter in Student(StudentShape(context_blocks=4)).parameters()) < 1_000_000


@pytest.mark.parametrize("form", FORMS)
def test_only_operators_that_run_in_int8(form: Form) -> None:
    allowed = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.ReLU, nn.Dropout, nn.Sequential, Residual, ConvBlock, Student)
    assert all(isinstance(module, allowed) for module in Student(StudentShape(form=form, depth=2)).modules())


@pytest.mark.parametrize("form", FORMS)
def test_every_convolution_but_the_outermost_has_channels_in_sixteens(form: Form) -> None:
    widths = [
        (module.in_channels, module.out_channels)
        for module in Student(StudentShape(form=form)).modules()
        if isinstance(module, nn.Conv2d)
    ]
    odd = [pair for pair in widths if pair[0] % 16 or pair[1] % 16]
    assert odd == [(1, 16), (128, 3)]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ({"width": 24}, "multiples of 16"),
        ({"mel_bands": 60}, "multiples of 16"),
        ({"depth": 0}, "depth 0"),
        ({"form": "sparse"}, "form sparse"),
        ({"labels": 1, "clip_labels": 2}, "clip_labels"),
    ],
)
def test_shapes_that_int8_cannot_use_are_refused(shape: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudentShape(**shape)


def parameters(**shape: Any) -> int:
    return sum(parameter.numel() for parameter in Student(StudentShape(**shape)).parameters())


def test_width_depth_and_form_are_what_a_student_costs() -> None:
    assert parameters(width=32) < parameters(width=48)
    assert parameters(depth=1) < parameters(depth=2)
    assert parameters(form="depthwise") < parameters(form="dense") / 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("labels", "clip_labels"), [(3, 0), (3, 1), (2, 2)])
def test_labels_of_the_window_have_one_score_at_every_step(form: Form, labels: int, clip_labels: int) -> None:
    shape = StudentShape(width=16, labels=labels, clip_labels=clip_labels, form=form)
    student = Student(shape).eval()
    log_mel = torch.randn(2, 64, 198)
    with torch.no_grad():
        scores, window = Scorer(student)(log_mel)[1], torch.sigmoid(student(log_mel)[2])
    assert scores.shape == (2, 50, labels)
    of_window = scores[:, :, labels - clip_labels :]
    assert torch.allclose(of_window, window[:, None, labels - clip_labels :].expand_as(of_window))
    assert (scores <= window[:, None]).all()


def test_score_is_high_only_where_step_and_window_agree() -> None:
    steps = torch.tensor([[[8.0, 8.0], [-8.0, 8.0]]])
    scores = joint_scores(steps, torch.tensor([[8.0, -8.0]]))
    assert scores.shape == (1, 2, 2)
    assert scores[0, 0, 0] > 0.99
    assert scores.flatten()[1:].max() < 0.01


def test_a_sound_changes_the_step_logits_around_it_only() -> None:
    student = Student(StudentShape(width=16, context_blocks=3)).eval()
    quiet = torch.full((1, 64, 398), -10.0)
    loud = quiet.clone()
    loud[:, :, 200:204] = 0.0
    with torch.no_grad():
        change = (student(loud)[1] - student(quiet)[1]).abs().amax(dim=(0, 2))
    assert change[50] > 0
    assert change[:35].max() == 0
    assert change[65:].max() == 0
