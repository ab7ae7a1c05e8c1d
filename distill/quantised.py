"""Quantisation-aware training: a student that hears itself in INT8 for its last epochs, and keeps float32 weights.

Symmetric fake quantisation of our own, placed as `quantize` and TensorRT place theirs: weights in 8 bits per output
channel, the inputs of convolutions and of the embedding's layer in 8 bits per tensor; the first convolution and the
heads stay float. Rounding passes the gradient on (straight-through estimator; Bengio et al., arXiv 1308.3432; Jacob et
al., arXiv 1712.05877). Weights stay as they are trained: an export that quantises them finds the very levels that were
trained with, since a scale per output channel is the largest weight of that channel, and batch norm folded into it
only scales the channel. It exports nothing; `quantize` does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from distill.student import Student

LEVELS = 127
"""Magnitudes of a signed 8-bit number that is symmetric around 0."""

OBSERVED_BATCHES = 8
"""Batches that set the ranges of activations, which then stay."""


def fake_quantise(values: Tensor, largest: Tensor) -> Tensor:
    """Values rounded to `LEVELS` steps to either side of 0 and clipped at `largest`, in float.

        q = s round(clip(x, -m, m) / s),   s = m / LEVELS

    The gradient passes as through the clipping alone.

    Args:
        values: any shape.
        largest: m, positive, of a shape that broadcasts to that of the values.
    """
    clipped = torch.minimum(torch.maximum(values, -largest), largest)
    step = largest / LEVELS
    return clipped + (torch.round(clipped / step) * step - clipped).detach()


class QuantisedStudent(nn.Module):
    """A student's forward pass as INT8 will compute it, in float; the student itself is not changed.

    The first `OBSERVED_BATCHES` in training mode are heard in float, and their largest activations become the ranges;
    in evaluation mode ranges are as they are. Ranges are a buffer, so checkpoints keep them.
    """

    ranges: Tensor
    """(layers,) largest magnitude of each layer's input."""
    observed: Tensor
    """Scalar: batches that the ranges were taken from."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        # Not registered as a part: its weights belong to whoever trains it.
        self._student = [student]
        self.names = quantised_layers(student)
        self.register_buffer("ranges", torch.zeros(len(self.names)))
        self.register_buffer("observed", torch.zeros(()))

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Student.forward`."""
        if self.training and float(self.observed) < OBSERVED_BATCHES:
            return self.observe(log_mel)
        layers = dict(self._student[0].named_modules())
        weights = {
            f"{name}.weight": fake_quantise(weight, _largest_of_channels(weight))
            for name in self.names
            if isinstance(weight := layers[name].weight, Tensor)
        }
        hooks = [layers[name].register_forward_pre_hook(self._round(place)) for place, name in enumerate(self.names)]
        try:
            said: tuple[Tensor, Tensor, Tensor] = functional_call(self._student[0], weights, (log_mel,))
        finally:
            for hook in hooks:
                hook.remove()
        return said

    def observe(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hear a batch in float, and widen the ranges to what was met."""
        layers = dict(self._student[0].named_modules())
        hooks = [layers[name].register_forward_pre_hook(self._widen(place)) for place, name in enumerate(self.names)]
        try:
            said: tuple[Tensor, Tensor, Tensor] = self._student[0](log_mel)
        finally:
            for hook in hooks:
                hook.remove()
        self.observed += 1
        return said

    def _round(self, place: int) -> Any:
        def hook(_layer: nn.Module, given: tuple[Tensor]) -> Tensor:
            # A layer whose input was always 0 while it was observed has no range; any would do.
            return fake_quantise(given[0], self.ranges[place].clamp(min=1e-6).to(given[0].dtype))

        return hook

    def _widen(self, place: int) -> Any:
        def hook(_layer: nn.Module, given: tuple[Tensor]) -> None:
            self.ranges[place] = torch.maximum(self.ranges[place], given[0].detach().abs().amax().float())

        return hook


def quantised_layers(student: Student) -> list[str]:
    """Names of the layers that run in INT8: all but the first convolution and the heads."""
    layers = [name for name, layer in student.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return [name for name in layers[1:] if name not in ("step_head", "window_head")]


def _largest_of_channels(weight: Tensor) -> Tensor:
    """(outputs, 1, ...): the largest magnitude of each output channel's weights."""
    return weight.detach().abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True).clamp(min=1e-12)
