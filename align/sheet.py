"""A recording and its reports on one page: spectrogram, the report that is its own, the nearest ones with scores."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy.signal import spectrogram

from align.figures import save
from edge.errors import UserError

WIDTH_IN, PICTURE_IN, LINE_IN = 9.0, 3.2, 0.18
MARGIN_IN = 0.25
LETTERS = 100
"""In a line; as many of the font's widest usual letters still fit."""
MOST_LINES = 12
"""Of a report; a longer one is cut so that a sheet stays a sheet."""
WINDOW_S, QUIETEST_DB = 0.064, -80.0


def draw_sheet(
    image: Path,
    samples: NDArray[np.float32],
    sample_rate_hz: int,
    title: str,
    texts: Sequence[tuple[str, str]],
) -> None:
    """Write a PNG.

    Args:
        image: the file.
        samples: (samples,) of the recording.
        sample_rate_hz: their rate.
        title: name of the recording.
        texts: heading and text of each report, from top to bottom.

    Raises:
        UserError: the file cannot be written.
    """
    blocks = [(heading, wrap(text)) for heading, text in texts]
    lines = sum(len(text) + 2 for _, text in blocks)
    height = PICTURE_IN + MARGIN_IN * 2 + lines * LINE_IN
    figure = pyplot.figure(figsize=(WIDTH_IN, height))
    top, left = 1 - (MARGIN_IN + 0.15) / height, 0.75 / WIDTH_IN
    bottom = 1 - (PICTURE_IN - 0.35) / height
    _draw_spectrogram(
        figure.add_axes((left, bottom, 1 - left - 0.25 / WIDTH_IN, top - bottom)), samples, sample_rate_hz
    )
    figure.text(0.5, 1 - 0.1 / height, title, ha="center", va="top", fontsize=10, parse_math=False)
    place = height - PICTURE_IN - MARGIN_IN
    for heading, text in blocks:
        for number, line in enumerate([heading, *text]):
            weight = "normal" if number else "bold"
            figure.text(
                MARGIN_IN / WIDTH_IN, place / height, line, va="top", fontsize=9, weight=weight, parse_math=False
            )
            place -= LINE_IN
        place -= LINE_IN
    try:
        save(figure, image)
    except OSError as error:
        raise UserError(f"{image}: cannot be written ({error.strerror}); name another --sheet") from error


def wrap(text: str) -> list[str]:
    """Lines of a report."""
    return textwrap.wrap(
        " ".join(text.split()), LETTERS, max_lines=MOST_LINES, placeholder=" [...]", break_on_hyphens=False
    )


def _draw_spectrogram(axis: Axes, samples: NDArray[np.float32], sample_rate_hz: int) -> None:
    window = min(len(samples), round(WINDOW_S * sample_rate_hz))
    _, _, power = spectrogram(samples, sample_rate_hz, nperseg=window, noverlap=window * 3 // 4)
    level = 10 * np.log10(power / max(float(power.max()), 1e-20) + 1e-10)
    length_s = len(samples) / sample_rate_hz
    axis.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(0.0, length_s, 0.0, sample_rate_hz / 2),
        vmin=QUIETEST_DB,
        vmax=0.0,
        cmap="magma",
    )
    axis.set(xlabel="time (s)", ylabel="frequency (Hz)")
