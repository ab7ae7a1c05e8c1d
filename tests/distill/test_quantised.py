"""INT8 as it is heard in training: the levels, the gradient, what stays float, and that it helps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from distill import quantised
from distill.quantised import LEVELS, OBSERVED_BATCHES, QuantisedStudent, fake_quantise, quantised_layers
from distill.student import Form, Student, StudentShape

SHAPE = {"mel_bands": 32, "labels": 1, "width": 16, "context_blocks": 1, "embedding_size": 16, "clip_labels": 1}


def make_student(form: Form = "dense") -> Student:
    torch.manual_seed(0)
    return Student(StudentShape(**SHAPE, form=form))  # type: ignore[arg-type]


def test_values_are_rounded_and_clipped_as_by_the_plain_formula() -> None:
    values = np.linspace(-3, 3, 101)
    step = 2.0 / LEVELS
    expected = [step * round(min(max(value, -2.0), 2.0) / step) for value in values]
    assert np.allclose(fake_quantise(torch.tensor(values), torch.tensor(2.0)).numpy(), expected)


def test_the_gradient_passes_within_the_range_only() -> None:
    values = torch.tensor([-3.0, -1.0, 0.3, 1.9, 2.5], requires_grad=True)
    fake_quantise(values, torch.tensor(2.0)).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0]


def test_levels_are_those_of_the_weights_with_batch_norm_folded() -> None:
    """An export folds first and quantises then; training does not fold."""
    weight, gain = torch.randn(8, 4, 3, 3), torch.randn(8, 1, 1, 1)
    folded = fake_quantise(weight * gain, (weight * gain).abs().amax((1, 2, 3), keepdim=True))
    trained = fake_quantise(weight, weight.abs().amax((1, 2, 3), keepdim=True)) * gain
    assert torch.allclose(folded, trained, atol=1e-6)


@pytest.mark.parametrize("form", ["dense", "depthwise"])
def test_all_but_the_first_convolution_and_the_heads_is_quantised(form: Form) -> None:
    student = make_student(form)
    names = quantised_layers(student)
    layers = [name for name, layer in student.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert set(layers) - set(names) == {"stem.0.0", "window_head"}


def test_hearing_in_int8_changes_what_is_said_a_little_and_the_student_not_at_all() -> None:
    student = make_student().eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    log_mel = torch.randn(4, 32, 60) * 3 - 5
    quantising = QuantisedStudent(student)
    with torch.no_grad():
        exact = quantising.observe(log_mel)[0]
        rounded = quantising.eval()(log_mel)[0]
        again = student(log_mel)[0]
    assert torch.equal(exact, again)
    assert not torch.equal(rounded, exact)
    assert torch.cosine_similarity(rounded, exact).min() > 0.99
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_ranges_come_from_the_first_batches_and_stay() -> None:
    quantising = QuantisedStudent(make_student()).train()
    for _ in range(OBSERVED_BATCHES):
        quantising(torch.randn(4, 32, 60))
    ranges = quantising.ranges.clone()
    assert (ranges > 0).all()
    quantising(100 * torch.randn(4, 32, 60))
    assert torch.equal(quantising.ranges, ranges)


def test_training_in_int8_helps_where_rounding_hurts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few levels, so that the effect is large: the error in INT8 of a student that was trained to hear itself in it."""
    monkeypatch.setattr(quantised, "LEVELS", 5)
    torch.manual_seed(1)
    log_mel = torch.randn(32, 32, 40) * 3 - 5
    wanted = torch.randn(32, 16)

    def error_in_int8(aware: bool) -> float:
        student = make_student().train()
        student.dropout.p = 0.0
        quantising = QuantisedStudent(student).train()
        optimiser = torch.optim.Adam(student.parameters(), 3e-3)
        for step in range(120):
            hear = quantising if aware and step >= 60 else student
            optimiser.zero_grad()
            (hear(log_mel)[0] - wanted).square().mean().backward()
            optimiser.step()
        with torch.no_grad():
            if not aware:
                quantising.observe(log_mel)
            heard = quantising(log_mel)[0] if aware else quantising.train(False)(log_mel)[0]
        return float((heard - wanted).square().mean())

    assert error_in_int8(aware=True) < 0.7 * error_in_int8(aware=False)
