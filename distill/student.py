"""The student: one family of ReLU convolution nets small enough for a board, with width and depth as numbers.

Log-mel in, an embedding and a score for every label each four frames out. Only convolutions, ReLU and residual adds,
with batch norm that folds into the convolution before it and channels in multiples of 16: what TensorRT 8.5 and later
runs in INT8; what makes the embedding and the scores stays float. Of two forms, the dense one loses least in INT8 and
keeps a board's tensor cores busy; the depthwise one has a fraction of the parameters. No squeeze-excitation. It knows
nothing of waveforms, labels' names or losses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

FRAMES_PER_STEP = 4
"""Two halvings of time: one step every four front-end frames, 40 ms at 16 kHz."""

Form = Literal["dense", "depthwise"]

# Log-mel of audio in [-1, 1] lies between log(1e-6) = -14 and about 9; these bring it near zero mean and unit variance.
INPUT_MEAN, INPUT_SCALE = -5.0, 4.0


@dataclass(frozen=True)
class StudentShape:
    """What a checkpoint must hold to build the same net again."""

    mel_bands: int = 64
    labels: int = 3
    width: int = 32
    """Channels of the first residual stage; the next ones have twice and four times as many. A multiple of 16."""
    context_blocks: int = 3
    """Temporal residual blocks with dilation 1, 2, 4, ...: how far a step sees to either side."""
    embedding_size: int = 128
    depth: int = 1
    """Residual blocks of each of the first two stages."""
    form: Form = "dense"
    """Depthwise: every 3 x 3 convolution looks at one channel, and a 1 x 1 convolution mixes them."""
    clip_labels: int = 0
    """How many of the labels, the last ones, are of the whole window: their score is the window's at every step."""

    def __post_init__(self) -> None:
        """Refuse shapes that INT8 convolutions cannot use well, or that say nothing.

        Raises:
            ValueError: a width that is not a multiple of 16, or a number of mel bands that is not one of 16; no depth;
                an unknown form; more labels of the window than labels.
        """
        if self.width % 16 or self.mel_bands % 16:
            raise ValueError("width and mel_bands must be multiples of 16")
        if self.depth < 1 or self.form not in ("dense", "depthwise"):
            raise ValueError(f"depth {self.depth} must be 1 or more, form {self.form} dense or depthwise")
        if not 0 <= self.clip_labels <= self.labels:
            raise ValueError(f"clip_labels must be from 0 to the number of labels, {self.labels}")


class ConvBlock(nn.Sequential):
    """Convolution, batch norm (which folds into it), ReLU; depthwise, one such for each channel and one that mixes."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int] = (1, 1), form: Form = "dense") -> None:
        layers: list[nn.Module] = []
        if form == "depthwise":
            layers += [
                nn.Conv2d(inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False),
                nn.BatchNorm2d(inputs),
                nn.ReLU(inplace=True),
                nn.Conv2d(inputs, outputs, 1, bias=False),
            ]
        else:
            layers.append(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False))
        super().__init__(*layers, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """x + two convolutions of it, then ReLU. `kernel` and `dilation` are (mel, time)."""

    def __init__(
        self, channels: int, kernel: tuple[int, int] = (3, 3), dilation: int = 1, form: Form = "dense"
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, dilation * (kernel[1] // 2))
        groups = channels if form == "depthwise" else 1
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, kernel, padding=padding, dilation=(1, dilation), groups=groups, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, mel, time) to the same shape."""
        return torch.relu(features + self.body(features))


class Student(nn.Module):
    """Log-mel (batch, mel_bands, frames) to embedding, logits of the steps, and logits of the whole window.

    Outputs are (batch, embedding_size), (batch, ceil(frames / 4), labels - clip_labels) and (batch, labels). The steps
    say when, the window, which sees all of them, what: a sneeze ends much like a cough, but does not begin like one.
    """

    def __init__(self, shape: StudentShape) -> None:
        super().__init__()
        self.shape = shape
        width, form = shape.width, shape.form
        self.stem = nn.Sequential(
            ConvBlock(1, 16, stride=(2, 2)),
            ConvBlock(16, width, stride=(2, 2), form=form),
            *(Residual(width, form=form) for _ in range(shape.depth)),
            ConvBlock(width, 2 * width, stride=(2, 1), form=form),
            *(Residual(2 * width, form=form) for _ in range(shape.depth)),
            ConvBlock(2 * width, 4 * width, stride=(2, 1), form=form),
        )
        bands_left, channels = shape.mel_bands // 16, 4 * width
        groups = channels if form == "depthwise" else 1
        # One kernel as tall as the bands that are left: every step sees the whole spectrum from here on.
        self.collapse = nn.Sequential(
            nn.Conv2d(channels, channels, (bands_left, 1), groups=groups, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        )
        self.context = nn.Sequential(
            *(Residual(channels, kernel=(1, 3), dilation=2**index, form=form) for index in range(shape.context_blocks))
        )
        self.dropout = nn.Dropout(0.2)
        self.step_labels = shape.labels - shape.clip_labels
        if self.step_labels:
            self.step_head = nn.Conv2d(channels, self.step_labels, 1)
        self.embedding = nn.Linear(2 * channels, shape.embedding_size)
        self.window_head = nn.Linear(shape.embedding_size, shape.labels)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return embedding, step logits and window logits."""
        normalised = (log_mel.unsqueeze(1) - INPUT_MEAN) / INPUT_SCALE
        steps = self.dropout(self.context(self.collapse(self.stem(normalised))))
        embedding = self.embedding(torch.cat([steps.mean(dim=(2, 3)), steps.amax(dim=(2, 3))], dim=1))
        if self.step_labels:
            step_logits = self.step_head(steps).squeeze(2).transpose(1, 2)
        else:
            step_logits = steps[:, :0, 0].transpose(1, 2)
        return embedding, step_logits, self.window_head(embedding)


def joint_scores(step_logits: Tensor, window_logits: Tensor) -> Tensor:
    """Scores in 0..1 of every step: what the step says times what the window says.

    Of labels that no step speaks for, the last ones, the score is what the window says.

    Args:
        step_logits: (batch, steps, labels - clip_labels).
        window_logits: (batch, labels).

    Returns:
        (batch, steps, labels).
    """
    window = torch.sigmoid(window_logits).unsqueeze(1)
    # Plain numbers, so that an exported graph multiplies by a constant where it would otherwise compute shapes.
    steps, of_steps, labels = int(step_logits.shape[1]), int(step_logits.shape[2]), int(window_logits.shape[1])
    if of_steps == labels:
        return torch.sigmoid(step_logits) * window
    of_window = torch.ones(1, steps, 1, device=window.device) * window[:, :, of_steps:]
    if not of_steps:
        return of_window
    return torch.cat([torch.sigmoid(step_logits) * window[:, :, :of_steps], of_window], dim=2)


class Scorer(nn.Module):
    """The student as it ships, with the outputs `embedding` and `scores`."""

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.student = student

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, mel_bands, frames) to (batch, embedding_size) and (batch, steps, labels) in 0..1."""
        embedding, step_logits, window_logits = self.student(log_mel)
        return embedding, joint_scores(step_logits, window_logits)
