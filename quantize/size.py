"""What an encoder costs whatever the machine: parameters and multiply-adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from distill.student import Student
from quantize.rules.graph import WEIGHTED, Graph
from quantize.rules.placement import multiplications


@dataclass(frozen=True)
class Size:
    """What the encoder costs."""

    parameters: int
    multiply_adds: int
    """For one window."""
    window_s: float

    @property
    def multiply_adds_per_2_s(self) -> float:
        """For two seconds of sound, so that encoders with other windows compare."""
        return 2.0 * self.multiply_adds / self.window_s

    def __str__(self) -> str:
        """In words."""
        text = f"{self.parameters / 1e6:.3f} M parameters, {self.multiply_adds / 1e6:.1f} M multiply-adds a window of "
        text += f"{self.window_s:g} s"
        return text if self.window_s == 2.0 else f"{text} ({self.multiply_adds_per_2_s / 1e6:.1f} M for 2 s)"


def size_of(student: Student, encoder: Path, window_s: float) -> Size:
    """Count the student's parameters, and the multiply-adds of its graph (convolutions and linear layers)."""
    graph = Graph(onnx.load(str(encoder)))
    multiply_adds = sum(multiplications(graph, node) for node in graph.of_type(*WEIGHTED))
    return Size(sum(parameter.numel() for parameter in student.parameters()), multiply_adds, window_s)
