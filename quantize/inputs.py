"""What an export starts from, read and checked before any time is spent on it. Writes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from align.corpora import Recording
from align.corpora.recording import Split
from quantize.bundling import refuse_foreign
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.config import ExportSettings
from quantize.errors import ExportError
from quantize.recordings import read_splits
from quantize.scarce import HeldOut, LeftOut, never_labels, scarce, without
from quantize.sign import read_key

FEWEST_RECORDINGS = 12


@dataclass(frozen=True)
class Inputs:
    """What an export starts from, read and checked."""

    settings: ExportSettings
    checkpoint: Checkpoint
    """Without the labels that are left out."""
    left_out: tuple[LeftOut, ...]
    never_labels: tuple[HeldOut, ...]
    """Sounds that recordings are named after and nobody trained as labels."""
    splits: dict[Split, list[Recording]] = field(repr=False)
    key: Ed25519PrivateKey | None

    def __post_init__(self) -> None:
        """Refuse a table that cannot calibrate.

        Raises:
            ExportError: fewer than FEWEST_RECORDINGS training recordings.
        """
        count = len(self.splits["train"])
        if count < FEWEST_RECORDINGS:
            raise ExportError(
                f"{self.settings.recordings}: {count} training recordings; INT8 is calibrated on {FEWEST_RECORDINGS} "
                "at least, since the ranges of fewer are those of a few rooms"
            )


def read_inputs(settings: ExportSettings) -> Inputs:
    """Read checkpoint and table of a student of `distill.train`.

    Raises:
        UserError: a wrong checkpoint, table, key or output folder, or no label that can ship.
    """
    key = check_places(settings)
    if settings.labels:
        raise ExportError(f"labels: only a student of distill.teach can leave some out, not {settings.checkpoint}")
    checkpoint = load_checkpoint(settings.checkpoint)
    splits = read_splits(settings.recordings, checkpoint)
    left_out = scarce(checkpoint.labels, splits)
    others = never_labels(checkpoint.labels, splits)
    return Inputs(settings, without(checkpoint, left_out), left_out, others, splits, key)


def check_places(settings: ExportSettings) -> Ed25519PrivateKey | None:
    """Check where the export will write, and read the key that will sign, if any.

    Raises:
        UserError: the output or the report has no place, or the key is none.
    """
    refuse_foreign(settings.output)
    if settings.report is not None and not settings.report.parent.is_dir():
        raise ExportError(f"{settings.report}: there is no folder {settings.report.parent}; make it first")
    return read_key(settings.key) if settings.key else None


def plan(inputs: Inputs) -> str:
    """What would be done with them, for people."""
    settings, checkpoint = inputs.settings, inputs.checkpoint
    lines = [
        f"checkpoint: {checkpoint.path}, {checkpoint.created}, hears {', '.join(checkpoint.labels)}",
        *(f"left out: {label.label}: {label.reason}" for label in inputs.left_out),
        "recordings: " + ", ".join(f"{split} {len(rows)}" for split, rows in inputs.splits.items()),
        f"would write: {settings.output}, {settings.name} {settings.version} for {settings.target}, precision "
        f"{settings.precision}, {'signed' if inputs.key else 'unsigned'}, batches of at most {settings.batch}",
        f"would calibrate on {settings.calibration_windows} training windows, choose thresholds on {settings.scenes} "
        "scenes of validation recordings, and measure on the test recordings",
    ]
    return "\n".join(lines)
