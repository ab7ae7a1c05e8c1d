"""Plots of a training."""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot

from align.figures import read_curves, save


def plot_learning_curves(metrics: Path, image: Path) -> None:
    """Draw the losses and the validation figures of a `metrics.csv` over epochs.

    Raises:
        OSError: as `align.figures.save`.
    """
    curves = read_curves(metrics, by="epoch")
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4), layout="constrained")
    for axis, prefix, title in zip(axes, ("train/", "validation/"), ("Loss", "Validation clips"), strict=True):
        for name, points in sorted(curves.items()):
            if name.startswith(prefix):
                axis.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix(prefix).replace("_", " "))
        axis.set(xlabel="epoch", title=title)
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0].set_yscale("log")
    save(figure, image)
