"""Plots that a training leaves, and how every plot is saved: without a screen, and whole or not at all."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure

from align.files import writing_whole

Curves = dict[str, list[tuple[float, float]]]
PANELS = (
    ("Loss terms, weighted", ("train/",), "log"),
    ("Probe, people held out: AUROC", ("validation/auroc",), "linear"),
    ("Retrieval, people held out: recall", ("validation/recall",), "linear"),
)


def plot_training(metrics: Path, image: Path) -> None:
    """Draw losses, probe and retrieval of a `metrics.csv` over steps; where it has nothing to draw, no image.

    Raises:
        OSError: as `save`.
    """
    curves = read_curves(metrics)
    panels = [(title, shown, scale) for title, kinds, scale in PANELS if (shown := _of(curves, kinds))]
    if not panels:
        return
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5.5 * len(panels), 4), layout="constrained", squeeze=False)
    for axis, (title, shown, scale) in zip(axes[0], panels, strict=True):
        for name, points in shown.items():
            axis.plot(
                *zip(*points, strict=True), marker=".", markersize=3, label=name.rpartition("/")[2].replace("_", " ")
            )
        axis.set(xlabel="step", title=title, yscale=scale)
        axis.grid(alpha=0.3)
        axis.legend(fontsize="small")
    save(figure, image)


def save(figure: Figure, image: Path) -> None:
    """Write a figure as a PNG and close it.

    Raises:
        OSError: the disk is full or cannot be written; the image is what it was before.
    """
    with writing_whole(image) as stream:
        figure.savefig(stream, format="png", dpi=110)
    pyplot.close(figure)


def read_curves(metrics: Path, by: str = "step") -> Curves:
    """Every column of a log with a `/` in its name, as (step, value) where it has one; `by` epoch, (epoch, value)."""
    curves: Curves = defaultdict(list)
    with metrics.open(newline="") as stream:
        for row in csv.DictReader(stream):
            for name, value in row.items():
                if value and "/" in name:
                    curves[name].append((float(row[by]), float(value)))
    return curves


def _of(curves: Curves, kinds: Sequence[str]) -> Curves:
    return {name: points for name, points in sorted(curves.items()) if name.startswith(tuple(kinds))}
