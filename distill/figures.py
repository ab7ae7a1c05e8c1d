"""Plots of a training."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot

from align.figures import read_curves


def plot_learning_curves(metrics: Path, image: Path) -> None:
    """Draw the losses and the validation figures of a `metrics.csv` over epochs."""
    curves = read_curves(metrics, by="epoch")
    titles = {"train/": "Loss", "validation/": "Validation clips"}
    # A training that held nobody out has nothing to validate on.
    shown = [prefix for prefix in titles if any(name.startswith(prefix) for name in curves)]
    figure, axes = pyplot.subplots(1, len(shown), figsize=(5.5 * len(shown), 4), layout="constrained", squeeze=False)
    for axis, prefix in zip(axes[0], shown, strict=True):
        for name, points in sorted(curves.items()):
            if name.startswith(prefix):
                axis.plot(*zip(*points, strict=True), marker=".", label=name.removeprefix(prefix).replace("_", " "))
        axis.set(xlabel="epoch", title=titles[prefix])
        axis.grid(alpha=0.3)
        axis.legend()
    axes[0, 0].set_yscale("log")
    figure.savefig(image, dpi=110)
    pyplot.close(figure)
