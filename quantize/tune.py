"""Choose a finished bundle's operating points anew: `python -m quantize.tune --bundle edge/bundles/room ...`.

For when the device's segmentation has changed, or labels are to mask each other, and the models have not. The models,
the golden vectors and what the card says of training and quantisation stay as they are; operating points, figures of
the test split, failures and the drift reference are made anew. Operating points are chosen on the validation split.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from align.corpora.recording import Split
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, FrontEnd, Manifest, load_bundle, write_manifest
from edge.scoring import Report
from edge.settings import ProgramSettings, run_program
from quantize.bundling import beside, prove, refuse_foreign, replace
from quantize.card import events_section, failures, operating_points, table_of, triggers
from quantize.drift import DRIFT, write_drift
from quantize.errors import ExportError
from quantize.failures import Failures, find_failures
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, accuracy, score_tracks
from quantize.recordings import load_labelled, read_splits
from quantize.results import metrics
from quantize.steps import Steps
from quantize.tuning import choose, events
from quantize.windows import draw_windows

STEPS = 4
DRIFT_WINDOWS = 1000
"""Training windows that the drift reference is of."""


class TuneSettings(ProgramSettings):
    """Choose a finished bundle's operating points anew."""

    model_config = SettingsConfigDict(env_prefix="ACULA_TUNE__")

    bundle: Path = Field(description="folder of the bundle")
    recordings: Path = Field(description="CSV that lists the recordings that the bundle was trained on")
    output: Path = Field(description="folder to write; a bundle found there is replaced once the new one is proven")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+$", description="version of the tuned bundle")
    validation_share: float = Field(0.3, gt=0, lt=0.5, description="as in the training, so that the split is the same")
    seed: int = Field(0, ge=0, description="as in the training")
    labels: tuple[str, ...] = Field((), description="labels whose point is chosen anew (default: all)")
    masked_by: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description='labels that cover another, as \'{"breath": ["cough", "speech"]}\''
    )
    scenes: int = Field(24, ge=1, description="scenes of ten minutes, of validation clips, to tune thresholds on")
    bootstrap_rounds: int = Field(1000, ge=100, description="resamples of every 95 % interval")


@dataclass(frozen=True)
class Known:
    """What a bundle's training is known by, where its checkpoint is not at hand."""

    labels: tuple[str, ...]
    front_end: FrontEnd
    validation_share: float
    seed: int
    exclude_corpora: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Tuned:
    """All that the card tells anew."""

    manifest: Manifest
    choices: Sequence[Choice]
    events: Mapping[str, Report]
    failures: Failures
    accuracy: Sequence[LabelAccuracy]


def tune(settings: TuneSettings) -> int:
    """Tune, write the bundle, and return the exit status.

    Raises:
        UserError: a wrong bundle, table, label or output folder.
    """
    refuse_foreign(settings.output)
    bundle = load_bundle(settings.bundle, allow_unsigned=True)
    manifest = _masked(bundle.manifest, settings.masked_by)
    names = tuple(label.name for label in manifest.labels)
    if unknown := set(settings.labels) - set(names):
        raise ExportError(f"labels: {settings.bundle} has no {', '.join(sorted(unknown))}, only {', '.join(names)}")
    known = Known(names, manifest.front_end, settings.validation_share, settings.seed)
    splits = read_splits(settings.recordings, known)
    steps = Steps(STEPS, sys.stdout)
    draft = Bundle(bundle.path, manifest)
    backend = OnnxRuntimeBackend(draft)
    with steps.step("recordings") as found:
        wanted: tuple[Split, ...] = ("validation", "test")
        clips = {split: load_labelled(splits[split], known) for split in wanted}
        found += [f"{split} {len(rows)}" for split, rows in splits.items()]
    with steps.step("operating points on the validation split") as found:
        kept = {
            label.name: label.operating_point
            for label in manifest.labels
            if settings.labels and label.name not in settings.labels
        }
        choices = choose(clips["validation"], draft, backend, scenes=settings.scenes, kept=kept)
        labels = tuple(
            label.model_copy(update={"operating_point": choice.point})
            for label, choice in zip(manifest.labels, choices, strict=True)
        )
        found += [f"{one.label} on {one.point.on:g} ({one.criterion} {one.value:.3f})" for one in choices]
    with steps.step("figures of the test split") as found:
        tracks = score_tracks(draft, backend, clips["test"], "test")
        measured = accuracy(names, clips["test"], tracks, tracks, rounds=settings.bootstrap_rounds)
        heard = events(choices, clips["test"], tracks, manifest)
        frames_per_s = manifest.front_end.sample_rate_hz / manifest.front_end.hop_samples
        worst = find_failures(choices, clips["test"], tracks, frames_per_s)
        found += [f"{one.label} {one.auroc}" for one in measured]
    figures = tuple(one for one in metrics(measured, heard) if not one.name.startswith("auroc_drop"))
    kept_drops = tuple(one for one in manifest.metrics if one.name.startswith("auroc_drop"))
    manifest = manifest.model_copy(
        update={"version": settings.version, "labels": labels, "metrics": figures + kept_drops}
    )
    tuned = Tuned(manifest, choices, heard, worst, measured)
    with beside(settings.output) as scratch, steps.step("bundle") as found:
        folder = Path(scratch) / "bundle"
        shutil.copytree(bundle.path, folder)
        (folder / "signature").unlink(missing_ok=True)
        windows = draw_windows(
            splits["train"], DRIFT_WINDOWS, manifest.window_samples, manifest.front_end.sample_rate_hz
        ).windows
        if write_drift(folder / DRIFT, windows, backend) is not None:
            found.append(DRIFT)
        before = (bundle.path / "card.md").read_text(encoding="utf-8")
        (folder / "card.md").write_text(retold(before, tuned), encoding="utf-8")
        write_manifest(folder, manifest)
        prove(folder)
        replace(folder, settings.output, Path(scratch) / "old")
    return 0


def _masked(manifest: Manifest, masked_by: Mapping[str, tuple[str, ...]]) -> Manifest:
    """The manifest with the masks that were asked for in the place of its own."""
    names = [label.name for label in manifest.labels]
    for label, others in masked_by.items():
        if label not in names or not set(others) <= set(names) - {label}:
            raise ExportError(f"masked_by: {label} by {', '.join(others)}: give labels of {', '.join(names)}")
    labels = tuple(
        label.model_copy(update={"masked_by": tuple(masked_by.get(label.name, label.masked_by))})
        for label in manifest.labels
    )
    return manifest.model_copy(update={"labels": labels})


def retold(before: str, tuned: Tuned) -> str:
    """The card with every section that was measured anew in the place of the old one, and the others as they were."""
    manifest = tuned.manifest
    title, *sections = before.split("\n## ")
    title = f"# {manifest.name} {manifest.version}\n" + title.partition("\n")[2]
    kept = {section.partition("\n")[0]: f"## {section.strip()}" for section in sections}
    fresh = [_accuracy(tuned), events_section(tuned.events), failures(tuned.failures)]
    fresh += [triggers(tuned.failures, [choice.label for choice in tuned.choices]), _points(tuned)]
    names = [section.partition("\n")[0].removeprefix("## ") for section in fresh]
    first = [text for name, text in kept.items() if name == "Training data"]
    last = [text for name, text in kept.items() if name not in ("Training data", *names)]
    return "\n\n".join([title.strip(), *first, *fresh, *last]) + "\n"


def _accuracy(tuned: Tuned) -> str:
    rows = [(one.label, f"{one.positives}", f"{one.negatives}", f"{one.auroc}") for one in tuned.accuracy]
    return (
        "## Clips of the test split\n\nA clip's score is the mean over its highest-scored second. Clips of which it is "
        "not known whether they hold the label are left out; the others are of all sources together. 95 % intervals "
        "by bootstrap over people or, where a corpus names none, recordings. What quantising costs was measured when "
        "the models were exported, and stands under Precision.\n\n"
        + table_of(("label", "with", "without", "AUROC"), rows)
    )


def _points(tuned: Tuned) -> str:
    masks = [
        f"{label.name} counts for as much as {' and '.join(label.masked_by)} leave of it: its score is multiplied by "
        "one less theirs, frame by frame."
        for label in tuned.manifest.labels
        if label.masked_by
    ]
    return "\n\n".join([operating_points(tuned.choices), *masks])


def main() -> int:
    """Choose a finished bundle's operating points anew."""
    return run_program(TuneSettings, tune, prog="python -m quantize.tune", description=main.__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
