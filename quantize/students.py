"""What students of the family cost: `python -m quantize.students`, so that one is chosen by figures.

For each width, depth and form: parameters, multiply-adds per second of audio, and how long a window takes on one core
in ONNX Runtime, in float32 and in INT8 as `quantize.export --target cpu` makes it. All nets take turns in one run, so
that a busy machine slows them alike. Weights are random: nothing here says how well a student hears. What a board's
TensorRT makes of INT8 is another matter, where channels of a depthwise convolution leave its cores idle.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from pydantic_settings import SettingsConfigDict
from torch import Tensor, nn
from tqdm import tqdm

from distill.student import Form, Student, StudentShape
from edge.errors import ConfigError
from edge.manifest import FrontEnd
from edge.settings import ProgramSettings, run_program
from quantize.calibration import RECIPES, quantise, ranges_of
from quantize.graph import write_student
from quantize.histograms import collect
from quantize.latency import graphs_ms

WINDOWS = 8


class StudentsSettings(ProgramSettings):
    """Tell what students of the family cost."""

    model_config = SettingsConfigDict(env_prefix="ACULA_STUDENTS__")

    widths: tuple[int, ...] = Field((16, 32, 48), min_length=1, description="channels of the first stage")
    depths: tuple[int, ...] = Field((1,), min_length=1, description="residual blocks of each of the first two stages")
    forms: tuple[Form, ...] = Field(("dense", "depthwise"), min_length=1, description="kinds of convolutions")
    context_blocks: int = Field(3, ge=1, le=6, description="temporal residual blocks")
    embedding_size: int = Field(128, ge=16, multiple_of=16, description="numbers of an embedding")
    labels: int = Field(3, ge=1, description="labels of steps")
    front_end: FrontEnd = FrontEnd()
    window_s: float = Field(2.0, ge=0.5, le=30, description="seconds heard at once")
    rounds: int = Field(100, ge=1, description="runs of each net that are timed")


@dataclass(frozen=True)
class Cost:
    """What a student costs."""

    shape: StudentShape
    parameters: int
    multiply_adds_per_s: float
    """Of convolutions and linear layers, for each second of audio that is heard once."""
    float32_ms: float
    """A window, on one core."""
    int8_ms: float


def costs(settings: StudentsSettings) -> list[Cost]:
    """The cost of each student of the settings.

    Raises:
        ConfigError: INT8 has no use for a shape, or a window holds no frame.
        GateError: an INT8 graph is not what was asked for.
    """
    front_end = settings.front_end
    samples = round(settings.window_s * front_end.sample_rate_hz)
    if samples < front_end.frame_samples:
        raise ConfigError(f"window_s = {settings.window_s:g} is shorter than one frame of the front-end")
    frames = 1 + (samples - front_end.frame_samples) // front_end.hop_samples
    shapes = shapes_of(settings)
    log_mels = _log_mels(front_end.mel_bands, frames)
    students = [_settled(shape, log_mels) for shape in shapes]
    with TemporaryDirectory() as folder:
        graphs: dict[str, Path] = {}
        for number, student in enumerate(tqdm(students, desc="export", unit="student")):
            plain, int8 = Path(folder) / f"{number}.onnx", Path(folder) / f"{number}.int8.onnx"
            write_student(student, plain, torch.from_numpy(log_mels[:1]))
            quantise(plain, int8, ranges_of(collect(plain, RECIPES["cpu"].operators, log_mels), "minmax", "cpu"), "cpu")
            graphs |= {f"{number} float32": plain, f"{number} int8": int8}
        taken = graphs_ms(graphs, dict.fromkeys(graphs, log_mels), rounds=settings.rounds)
    return [
        Cost(
            student.shape,
            sum(parameter.numel() for parameter in student.parameters()),
            multiply_adds(student, frames) / settings.window_s,
            taken[f"{number} float32"],
            taken[f"{number} int8"],
        )
        for number, student in enumerate(students)
    ]


def shapes_of(settings: StudentsSettings) -> list[StudentShape]:
    """The shapes of the settings.

    Raises:
        ConfigError: INT8 has no use for one.
    """
    try:
        return [
            StudentShape(
                mel_bands=settings.front_end.mel_bands,
                labels=settings.labels,
                width=width,
                context_blocks=settings.context_blocks,
                embedding_size=settings.embedding_size,
                depth=depth,
                form=form,
            )
            for form in settings.forms
            for width in settings.widths
            for depth in settings.depths
        ]
    except ValueError as error:
        raise ConfigError(f"widths, depths or front_end.mel_bands: {error}") from error


@torch.inference_mode()
def multiply_adds(student: Student, frames: int) -> int:
    """Multiply-adds of convolutions and linear layers for a window of so many log-mel frames."""
    total = 0

    def count(layer: nn.Module, _given: tuple[Tensor], out: Tensor) -> None:
        nonlocal total
        if isinstance(layer, nn.Conv2d):
            height, width = layer.kernel_size
            total += out.numel() * height * width * layer.in_channels // layer.groups
        elif isinstance(layer, nn.Linear):
            total += out.numel() * layer.in_features

    hooks = [layer.register_forward_hook(count) for layer in student.modules()]
    try:
        student(torch.zeros(1, student.shape.mel_bands, frames))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def table(found: Sequence[Cost]) -> str:
    """The costs as lines."""
    lines = ["form       width  depth  parameters  M multiply-adds/s  float32 ms  INT8 ms"]
    for cost in found:
        shape = cost.shape
        lines.append(
            f"{shape.form:9}  {shape.width:5}  {shape.depth:5}  {cost.parameters:10}  "
            f"{cost.multiply_adds_per_s / 1e6:17.1f}  {cost.float32_ms:10.2f}  {cost.int8_ms:7.2f}"
        )
    return "\n".join(lines)


def _log_mels(bands: int, frames: int) -> NDArray[np.float32]:
    """Smooth noise of the level of a log-mel, (WINDOWS, bands, frames): what sets ranges that are not absurd."""
    noise = np.random.default_rng(0).standard_normal((WINDOWS, bands, frames + 8))
    smooth = np.lib.stride_tricks.sliding_window_view(noise, 9, axis=2).mean(axis=3) * 9.0
    return np.asarray(smooth - 5.0, dtype=np.float32)


@torch.no_grad()
def _settled(shape: StudentShape, log_mels: NDArray[np.float32]) -> Student:
    """A student of random weights whose batch norms have met the input."""
    torch.manual_seed(0)
    student = Student(shape).train()
    for _ in range(5):
        student(torch.from_numpy(log_mels))
    return student.eval()


def main() -> int:
    """Run the program and return its exit status."""

    def run(settings: StudentsSettings) -> int:
        print(table(costs(settings)))
        return 0

    return run_program(StudentsSettings, run, prog="python -m quantize.students", description=__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
