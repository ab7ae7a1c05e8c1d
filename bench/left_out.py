"""How well a source is told that the net never heard: `python -m bench.left_out --recordings RECORDINGS`.

Leaves out one source after the other, trains by the recipe of `configs/room-without-coughseg.toml` on all the others,
and prints AUROC of every label in the test recordings of the source that was left out (`quantize.sources`), in float32;
beside it that of the bundle that ships, which heard its training recordings. That one trained longer, so the difference
is not of the source alone. A label of which hardly a training recording is left is not trained then, and not told.

Stops and resumes: a finished training is not repeated, so give another --output for other recordings. A training takes
about as long as a third of the one that ships.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic_settings import TomlConfigSettingsSource

from align.corpora import Recording, read_table
from bench.listening import Heard, Listener, open_bundle
from bench.program import parser, run
from distill.config import TrainSettings
from distill.targets import holds
from distill.training import train
from edge.bundle import Bundle
from edge.errors import UserError
from quantize.bundling import draft_manifest, write_float32
from quantize.checkpoint import load_checkpoint
from quantize.results import aligned
from quantize.sources import HEAD, Asked, by_source, cells

CONFIG = Path(__file__).parents[1] / "configs" / "room-without-coughseg.toml"
JOINED: Mapping[str, str] = {"esc10": "ESC", "esc50-f4": "ESC"}
"""Corpora that are parts of one collection: to leave out one of them alone would leave nothing out."""
LEAST_RECORDINGS = 30
"""Training recordings without which a label is not trained."""
ROUNDS = 2000


def source_of(row: Recording) -> str:
    """The source of a recording: its corpus, or the collection that it is a part of."""
    return JOINED.get(row.corpus, row.corpus)


def sources_of(rows: Sequence[Recording]) -> list[str]:
    """Sources of which there are recordings to train on and to test with."""
    train_on, test_with = ({source_of(row) for row in rows if row.split == split} for split in ("train", "test"))
    return sorted(train_on & test_with)


def settings_of(
    source: str, rows: Sequence[Recording], recordings: Path, output: Path, changes: Mapping[str, object]
) -> TrainSettings:
    """The settings of the training without a source.

    Args:
        source: to leave out.
        rows: airborne recordings.
        recordings: their table.
        output: folder of all trainings.
        changes: settings in the place of the recipe's.

    Raises:
        UserError: no label has enough recordings elsewhere.
    """
    given = TomlConfigSettingsSource(TrainSettings, toml_file=CONFIG)()
    left = [row.event for row in rows if row.split == "train" and source_of(row) != source]
    labels = [label for label in given["labels"] if left.count(label) >= LEAST_RECORDINGS]
    if not labels:
        raise UserError(f"{recordings}: without {source} no label has {LEAST_RECORDINGS} training recordings")
    fixed = {
        "recordings": recordings,
        "output": output / source,
        "labels": labels,
        "exclude_corpora": sorted({row.corpus for row in rows if source_of(row) == source}),
    }
    return TrainSettings.model_validate({**given, **changes, **fixed})


def hear(checkpoint_path: Path, rows: Sequence[Recording]) -> tuple[list[str], list[Heard]]:
    """The labels of a checkpoint, and what the device would make of recordings with it."""
    checkpoint = load_checkpoint(checkpoint_path)
    with TemporaryDirectory() as folder:
        bundle = Bundle(Path(folder) / "float32", draft_manifest("left-out", "0.0.0", checkpoint))
        write_float32(bundle, checkpoint)
        listener = Listener(bundle)
        return listener.labels, listener.hear_all(rows)


def told(
    source: str, labels: Sequence[str], rows: Sequence[Recording], heard: Sequence[Heard]
) -> list[tuple[str, ...]]:
    """Rows of the table: the labels in a source, of all that was heard."""
    known = [[holds(row, label) for label in labels] for row in rows]
    asked = Asked([source_of(row) for row in rows], [row.group for row in rows], known)
    scores = np.array([[ears.scores[label] for label in labels] for ears in heard])
    return cells(by_source(labels, asked, scores, rounds=ROUNDS, only=source))


def measure(
    recordings: Path, output: Path, bundle: Path | None, wanted: Sequence[str], changes: Mapping[str, object]
) -> list[str]:
    """Train and hear; lines of the table.

    Raises:
        UserError: a source that is not there, or what a training raises.
    """
    rows = [row for row in read_table(recordings) if row.modality == "airborne"]
    there = sources_of(rows)
    if not there:
        raise UserError(f"{recordings}: no source has airborne recordings to train on and to test with")
    if unknown := set(wanted) - set(there):
        raise UserError(f"{recordings}: no source {', '.join(sorted(unknown))} to leave out, only {', '.join(there)}")
    test = [row for row in rows if row.split == "test"]
    ships = Listener(open_bundle(bundle))
    by_ships = ships.hear_all(test)
    lines: list[tuple[str, ...]] = [("net", *HEAD)]
    for source in wanted or there:
        labels, heard = hear(train(settings_of(source, rows, recordings, output, changes)), test)
        lines += [("never heard it", *row) for row in told(source, labels, test, heard)]
        lines += [("ships", *row) for row in told(source, ships.labels, test, by_ships)]
    return aligned(lines)


def main() -> None:
    """Print the table."""
    flags = parser("left_out", __doc__)
    flags.add_argument("--recordings", type=Path, required=True, help="CSV that lists the recordings")
    flags.add_argument("--bundle", type=Path, help="bundle to compare with (default: the one that ships)")
    flags.add_argument("--output", type=Path, default=Path("runs/left-out"), help="folder for the trainings")
    flags.add_argument("--sources", nargs="*", default=[], help="sources to leave out, one by one (default: each)")
    run(flags, _print)


def _print(given: argparse.Namespace) -> None:
    print(*measure(given.recordings, given.output, given.bundle, given.sources, {}), sep="\n")


if __name__ == "__main__":
    main()
