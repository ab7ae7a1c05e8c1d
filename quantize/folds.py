"""Cross-validation: nets of one recipe that each held other people out, for a net that was trained on all of them.

A net that ships has then heard every training recording, and its operating points are still chosen on people whom the
net that heard them for it did not know. Scores of the nets are taken for alike, since recipe and sources are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from align.corpora import Recording, hold_out, read_table
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, Manifest
from quantize.bundling import draft_manifest, write_float32
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.errors import ExportError
from quantize.recordings import LabelledClip
from quantize.scarce import only
from quantize.tuning import Trial


@dataclass(frozen=True)
class Fold:
    """A net, and the training recordings that it did not hear."""

    checkpoint: Checkpoint
    recordings: tuple[Recording, ...]


def open_folds(paths: Sequence[Path], table: Path) -> list[Fold]:
    """Open the checkpoints and find whom each held out.

    Raises:
        ExportError: one held nobody out, or two held out the same person.
        CheckpointError: one is missing, or no checkpoint of `distill.train`.
        CorpusError: the table cannot be read.
    """
    rows = [row for row in read_table(table) if row.modality == "airborne" and row.split == "train"]
    folds: list[Fold] = []
    held_out_before: set[str] = set()
    for path in paths:
        checkpoint = load_checkpoint(path)
        split = hold_out(rows, checkpoint.validation_share, checkpoint.seed, checkpoint.fold)
        held_out = [row for row in split if row.split == "validation" and row.corpus not in checkpoint.exclude_corpora]
        people = {row.group for row in held_out}
        if not people:
            raise ExportError(f"{path}: held nobody out; train it with --validation_share and --fold")
        if held_out_before & people:
            raise ExportError(f"{path}: held out whom another fold held out, too; give every --fold once")
        held_out_before |= people
        folds.append(Fold(checkpoint, tuple(held_out)))
    return folds


def matched(folds: Sequence[Fold], labels: Sequence[str], recipe: Mapping[str, Any]) -> tuple[Fold, ...]:
    """The folds with these labels alone, in this order.

    Raises:
        ExportError: one lacks a label, or is of another recipe (`Checkpoint.recipe`).
    """
    for fold in folds:
        path = fold.checkpoint.path
        if lacking := set(labels) - set(fold.checkpoint.labels):
            raise ExportError(f"{path}: does not hear {', '.join(sorted(lacking))}; give folds of the same recipe")
        theirs = fold.checkpoint.recipe
        if other := [name for name, value in recipe.items() if theirs[name] != value]:
            raise ExportError(f"{path}: is of another recipe ({', '.join(other)}); give folds of the same")
    return tuple(replace(fold, checkpoint=only(fold.checkpoint, labels)) for fold in folds)


def trials_of(folds: Sequence[Fold], clips: Sequence[LabelledClip], like: Manifest, scratch: Path) -> list[Trial]:
    """Every fold's net as a device runs it, in float32, with what it is to hear.

    Args:
        folds: of `matched`.
        clips: of their recordings, fold after fold.
        like: the manifest that is tuned; its labels, masks and hop are taken.
        scratch: folder in which the graphs are written.
    """
    trials, waiting = [], iter(clips)
    for number, fold in enumerate(folds):
        drafted = draft_manifest(like.name, like.version, fold.checkpoint)
        manifest = drafted.model_copy(update={"labels": like.labels, "hop_s": like.hop_s})
        bundle = Bundle(scratch / f"fold-{number}", manifest)
        write_float32(bundle, fold.checkpoint)
        own = list(islice(waiting, len(fold.recordings)))
        trials.append(Trial(own, bundle, OnnxRuntimeBackend(bundle)))
    return trials
