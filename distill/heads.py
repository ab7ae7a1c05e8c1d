"""Heads: from an embedding to the answer of a clinical question, fitted last, on what is frozen by then.

A clip head is one row of weights and a bias: a standardised logistic regression (`align.probe`), its balance between
yes and no put back to what it is among people, then its logits divided by a temperature that validation people choose
(Guo et al., "On calibration of modern neural networks", arXiv 1706.04599). Folded into the row, all that costs a device
nothing. Frame-level events are heads of the student itself (`distill.student`); labels made of text are in
`distill.prompts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from align.probe import fit_probe
from align.tasks import Examples

COOLEST, HOTTEST = 0.05, 20.0
"""Bounds of a temperature: past them a split says nothing, as where it is told apart without an error."""


@dataclass(frozen=True)
class Head:
    """logit = weight . embedding + bias."""

    weight: NDArray[np.float64]
    """(embedding_size,)."""
    bias: float
    temperature: float = 1.0
    """What the logits were divided by already."""

    def logits(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """(n,) of (n, embedding_size)."""
        return np.asarray(embeddings.astype(np.float64) @ self.weight + self.bias)

    def at(self, temperature: float) -> Head:
        """The head with its logits divided by a temperature."""
        return Head(self.weight / temperature, self.bias / temperature, self.temperature * temperature)


def fit_head(train: Examples) -> Head:
    """A head whose sigmoid is a probability among the training units.

    Raises:
        CorpusError: there are too few people with either answer (`align.probe.need_people`).
    """
    fitted = fit_probe(train).best_estimator_
    scaler, regression = fitted["standardscaler"], fitted["logisticregression"]
    weight = regression.coef_[0] / scaler.scale_
    bias = float(regression.intercept_[0] - weight @ scaler.mean_)
    # The regression weighs yes and no alike, as if half of all people had the answer yes.
    share = float(np.mean(train.answers))
    return Head(np.asarray(weight, dtype=np.float64), bias + float(np.log(share / (1.0 - share))))


def calibrate(head: Head, held_out: Examples) -> Head:
    """The head at the temperature that gives held-out people's answers the highest likelihood.

    Unchanged where they all have the same answer, which tells no temperature.
    """
    if held_out.answers.all() or not held_out.answers.any():
        return head
    return head.at(temperature(head.logits(held_out.features), held_out.answers))


def temperature(logits: NDArray[np.float64], answers: NDArray[np.bool_]) -> float:
    """The T that makes sum_i log Bernoulli(y_i; sigmoid(z_i / T)) largest, within `COOLEST` and `HOTTEST`.

    Args:
        logits: (n,).
        answers: (n,), of both kinds.
    """
    signed = np.where(answers, logits, -logits)

    def loss(log_temperature: float) -> float:
        return float(np.logaddexp(0.0, -signed / np.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=(np.log(COOLEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))


def calibration_error(probabilities: NDArray[np.float64], answers: NDArray[np.bool_], bins: int = 10) -> float:
    """Expected calibration error: the mean gap between probability and frequency, over bins of equal width.

    Args:
        probabilities: (n,) in 0..1.
        answers: (n,).
        bins: how many (Guo et al., arXiv 1706.04599, equation 3).
    """
    place = np.minimum((probabilities * bins).astype(int), bins - 1)
    gaps = [
        (place == index).mean() * abs(float(answers[place == index].mean() - probabilities[place == index].mean()))
        for index in np.unique(place)
    ]
    return float(sum(gaps))
