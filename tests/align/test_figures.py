"""Curves and plots of a training's log."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib import image

from align.figures import plot_training, read_curves
from tests.outboxes import disk_without_room

LOG = """step,epoch,train/loss,train/alignment,validation/auroc_murmur,validation/recall_at_1,validation/median_rank
9,0,1.5,1.25,,,
19,0,0.75,0.5,,,
20,0,,,0.625,0.25,7.0
"""


def log(folder: Path, text: str = LOG) -> Path:
    path = folder / "metrics.csv"
    path.write_text(text)
    return path


def width(folder: Path, text: str) -> int:
    plot_training(log(folder, text), folder / "training.png")
    return int(image.imread(folder / "training.png").shape[1])


def test_curves_are_the_columns_of_measures_at_the_steps_where_they_were_taken(tmp_path: Path) -> None:
    assert read_curves(log(tmp_path)) == {
        "train/loss": [(9, 1.5), (19, 0.75)],
        "train/alignment": [(9, 1.25), (19, 0.5)],
        "validation/auroc_murmur": [(20, 0.625)],
        "validation/recall_at_1": [(20, 0.25)],
        "validation/median_rank": [(20, 7.0)],
    }


def test_plot_has_a_panel_for_each_kind_of_measure_that_there_is(tmp_path: Path) -> None:
    only_losses = "".join(line.rsplit(",", 3)[0] + "\n" for line in LOG.splitlines())
    assert width(tmp_path, LOG) == 3 * width(tmp_path, only_losses)


@pytest.mark.parametrize("text", ["step\n", "step,train/loss\n1,\n"])
def test_training_too_short_to_have_logged_anything_leaves_no_plot(tmp_path: Path, text: str) -> None:
    plot_training(log(tmp_path, text), tmp_path / "training.png")
    assert not (tmp_path / "training.png").exists()


def test_losses_that_are_not_finite_or_not_positive_do_not_stop_the_plot(tmp_path: Path) -> None:
    assert width(tmp_path, "step,train/loss,train/alignment\n1,nan,-0.5\n2,inf,-0.25\n3,1.0,0.0\n") > 0


def test_full_disk_keeps_the_plot_that_was_there(tmp_path: Path) -> None:
    before = width(tmp_path, LOG)
    with disk_without_room(), pytest.raises(OSError, match="File too large"):
        plot_training(log(tmp_path), tmp_path / "training.png")
    assert image.imread(tmp_path / "training.png").shape[1] == before
