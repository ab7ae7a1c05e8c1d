"""A net that was trained on everybody gets its operating points from nets that each held others out."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from align.corpora import hold_out, read_table
from distill.student import Student, StudentShape
from edge.bundle import load_bundle
from edge.errors import UserError
from quantize.checkpoint import load_checkpoint
from quantize.config import ExportSettings, TuneSettings, refuse_missing
from quantize.exporter import export
from quantize.folds import matched, open_folds, trials_of
from quantize.recordings import load_labelled
from quantize.retuning import tune

SHARE = 0.34
FIELDS: dict[str, Any] = {"bootstrap_rounds": 100, "scenes": 1}


@pytest.fixture(scope="module")
def table(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The corpus, with nobody held out by the table."""
    with recordings.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for row in rows:
        row["path"] = str(recordings.parent / row["path"])
        row["split"] = "train" if row["split"] == "validation" else row["split"]
    path = tmp_path_factory.mktemp("everybody") / "recordings.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def folds(
    student: Student, save_checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, ...]:
    folder = tmp_path_factory.mktemp("folds")
    return tuple(
        save_checkpoint(student, folder / f"{fold}.ckpt", validation_share=SHARE, fold=fold) for fold in range(3)
    )


@pytest.fixture(scope="module")
def exported(
    checkpoint_path: Path, table: Path, folds: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("exported") / "tiny"
    settings = ExportSettings(
        checkpoint=checkpoint_path,
        recordings=table,
        folds=folds,
        name="tiny",
        output=output,
        precision="float32",
        calibration_windows=300,
        **FIELDS,
    )
    assert export(settings) == 0
    return output


def test_points_are_chosen_on_everybody_and_the_card_says_how(exported: Path) -> None:
    manifest = load_bundle(exported, allow_unsigned=True).manifest
    assert all(label.operating_point.on < 1 for label in manifest.labels)
    card = (exported / "card.md").read_text(encoding="utf-8")
    assert "148 to validate, which are those to train on once more" in card
    assert "this net was trained on everybody, and 3 others of its recipe" in card
    assert "Chosen on 37 recordings with 37 marked events" in card
    assert "and 0.5 h of scenes" in card


def test_finished_bundle_is_tuned_on_the_folds_with_its_masks(
    exported: Path, table: Path, folds: tuple[Path, ...], tmp_path: Path
) -> None:
    settings = TuneSettings(
        bundle=exported,
        recordings=table,
        folds=folds,
        output=tmp_path / "tuned",
        version="0.2.0",
        masked_by={"breath": ("speech",)},
        **FIELDS,
    )
    assert tune(settings) == 0
    labels = {label.name: label for label in load_bundle(tmp_path / "tuned", allow_unsigned=True).manifest.labels}
    assert labels["breath"].masked_by == ("speech",)
    card = (tmp_path / "tuned" / "card.md").read_text(encoding="utf-8")
    assert "Chosen on 37 recordings" in card
    assert "3 others of its recipe" in card


def test_everybody_is_heard_by_the_net_that_did_not_know_them(
    exported: Path, table: Path, folds: tuple[Path, ...], tmp_path: Path
) -> None:
    opened = open_folds(folds, table)
    people = [row.group for fold in opened for row in fold.recordings]
    assert len(people) == len(set(people)) == 148
    manifest = load_bundle(exported, allow_unsigned=True).manifest
    clips = load_labelled([row for fold in opened for row in fold.recordings], opened[0].checkpoint)
    trials = trials_of(opened, clips, manifest, tmp_path)
    assert [[clip.recording for clip in trial.clips] for trial in trials] == [list(fold.recordings) for fold in opened]
    assert all(trial.bundle.manifest.labels == manifest.labels for trial in trials)
    for trial, path in zip(trials, folds, strict=True):
        checkpoint = load_checkpoint(path)
        told = {entry.key: entry.value for entry in onnx.load(str(trial.bundle.encoder_path)).metadata_props}
        assert told["checkpoint_sha256"] == checkpoint.sha256
        split = hold_out(read_table(table), SHARE, seed=0, fold=checkpoint.fold)
        heard = {row.group for row in split if row.split == "train"}
        assert not heard & {clip.recording.group for clip in trial.clips}


def test_tuning_without_folds_is_refused_where_the_net_knew_everybody(
    exported: Path, table: Path, tmp_path: Path
) -> None:
    settings = TuneSettings(bundle=exported, recordings=table, output=tmp_path / "b", version="0.2.0", **FIELDS)
    with pytest.raises(UserError, match="give its --folds"):
        tune(settings)


def test_label_that_does_not_ship_is_cut_from_the_folds(table: Path, folds: tuple[Path, ...]) -> None:
    opened = open_folds(folds, table)
    cut = matched(opened, ("cough", "speech"), opened[0].checkpoint.recipe)
    assert [fold.checkpoint.labels for fold in cut] == [("cough", "speech")] * 3
    assert cut[0].checkpoint.student.shape.labels == 2


def test_net_that_held_nobody_out_needs_folds(checkpoint_path: Path, table: Path, tmp_path: Path) -> None:
    settings = ExportSettings(checkpoint=checkpoint_path, recordings=table, name="tiny", output=tmp_path / "b")
    with pytest.raises(UserError, match="give its --folds"):
        export(settings)


def test_folds_of_a_net_that_held_people_out_are_refused(table: Path, folds: tuple[Path, ...], tmp_path: Path) -> None:
    settings = ExportSettings(
        checkpoint=folds[0], recordings=table, folds=folds, name="tiny", output=tmp_path / "b", **FIELDS
    )
    with pytest.raises(UserError, match="the net held people out itself"):
        export(settings)


def test_fold_that_is_given_twice_is_refused(table: Path, folds: tuple[Path, ...]) -> None:
    with pytest.raises(UserError, match="held out whom another fold held out"):
        open_folds([folds[0], folds[1], folds[0]], table)


def test_fold_that_held_nobody_out_is_refused(checkpoint_path: Path, table: Path) -> None:
    with pytest.raises(UserError, match="held nobody out"):
        open_folds([checkpoint_path], table)


def test_folds_of_another_recipe_are_refused(
    checkpoint_path: Path, save_checkpoint: Callable[..., Path], table: Path, tmp_path: Path
) -> None:
    wide = Student(StudentShape(labels=3, width=32, context_blocks=1, embedding_size=16))
    other = save_checkpoint(wide, tmp_path / "wide.ckpt", validation_share=SHARE)
    settings = ExportSettings(
        checkpoint=checkpoint_path, recordings=table, folds=(other,), name="tiny", output=tmp_path / "b", dry_run=True
    )
    with pytest.raises(UserError, match=r"wide\.ckpt: is of another recipe \(shape\)"):
        export(settings)


def test_folds_without_a_label_are_refused(table: Path, folds: tuple[Path, ...]) -> None:
    opened = open_folds(folds, table)
    with pytest.raises(UserError, match="does not hear sneeze"):
        matched(opened, ("cough", "sneeze"), opened[0].checkpoint.recipe)


def test_fold_that_is_missing_is_told_before_anything_is_read(
    checkpoint_path: Path, table: Path, tmp_path: Path
) -> None:
    settings = ExportSettings(
        checkpoint=checkpoint_path,
        recordings=table,
        folds=(tmp_path / "none.ckpt",),
        name="tiny",
        output=tmp_path / "b",
    )
    with pytest.raises(UserError, match=r"none\.ckpt"):
        refuse_missing(settings)
