"""The steps of `quantize.tune`: a finished bundle opened, measured with operating points of its own split, retold.

The card's sections that were measured anew take the place of the old ones; the others stay as they were written.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from align.corpora import Recording
from align.corpora.recording import Split
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, FrontEnd, Manifest, load_bundle, write_manifest
from edge.scoring import Report
from quantize.bundling import prove, rebuilding, refuse_foreign
from quantize.card import events_section, failures, operating_points, sources_section, table_of, triggers
from quantize.config import TuneSettings
from quantize.drift import DRIFT, write_drift
from quantize.errors import ExportError, GateError
from quantize.failures import Failures, find_failures
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, accuracy, of_clips, score_tracks
from quantize.recordings import LabelledClip, load_labelled, read_splits
from quantize.results import metrics
from quantize.sources import SourceAccuracy
from quantize.steps import Steps
from quantize.tuning import choose, events
from quantize.windows import draw_windows

STEPS = 4
DRIFT_WINDOWS = 1000
"""Training windows that the drift reference is of."""


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
    sources: Sequence[SourceAccuracy]


def tune(settings: TuneSettings) -> int:
    """Tune, write the bundle, and return the exit status: 0, or 1 when the tuned bundle does not pass a device's check.

    Raises:
        UserError: a wrong bundle, table, label or output folder, or a disk that cannot take the bundle.
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
    choices = _choose(settings, draft, backend, clips["validation"], steps)
    tuned = _measure(settings, draft, backend, choices, clips["test"], steps)
    try:
        with rebuilding(settings.output) as scratch:
            _write(scratch / "bundle", bundle, tuned, splits["train"], backend, steps)
    except GateError as error:
        print(f"gate failed: {error}; {settings.output} was not touched", file=sys.stderr)
        return 1
    return 0


def _choose(
    settings: TuneSettings,
    draft: Bundle,
    backend: OnnxRuntimeBackend,
    validation: Sequence[LabelledClip],
    steps: Steps,
) -> list[Choice]:
    with steps.step("operating points on the validation split") as found:
        kept = {
            label.name: label.operating_point
            for label in draft.manifest.labels
            if settings.labels and label.name not in settings.labels
        }
        choices = choose(validation, draft, backend, scenes=settings.scenes, kept=kept)
        found += [f"{one.label} on {one.point.on:g} ({one.criterion} {one.value:.3f})" for one in choices]
    return choices


def _measure(
    settings: TuneSettings,
    draft: Bundle,
    backend: OnnxRuntimeBackend,
    choices: Sequence[Choice],
    test: Sequence[LabelledClip],
    steps: Steps,
) -> Tuned:
    """The figures of the test split, and the manifest with them and the points."""
    manifest = draft.manifest
    names = [label.name for label in manifest.labels]
    with steps.step("figures of the test split") as found:
        tracks = score_tracks(draft, backend, test, "test")
        measured = accuracy(names, test, tracks, tracks, rounds=settings.bootstrap_rounds)
        sources = of_clips(names, test, tracks, rounds=settings.bootstrap_rounds)
        heard = events(choices, test, tracks, manifest)
        frames_per_s = manifest.front_end.sample_rate_hz / manifest.front_end.hop_samples
        worst = find_failures(choices, test, tracks, frames_per_s)
        found += [f"{one.label} {one.auroc}" for one in measured]
    labels = tuple(
        label.model_copy(update={"operating_point": choice.point})
        for label, choice in zip(manifest.labels, choices, strict=True)
    )
    # What quantising costs was measured against float32, which is not at hand.
    figures = tuple(one for one in metrics(measured, heard) if not one.name.startswith("auroc_drop"))
    drops = tuple(one for one in manifest.metrics if one.name.startswith("auroc_drop"))
    changed = {"version": settings.version, "labels": labels, "metrics": figures + drops}
    return Tuned(manifest.model_copy(update=changed), choices, heard, worst, measured, sources)


def _write(
    folder: Path,
    bundle: Bundle,
    tuned: Tuned,
    training: Sequence[Recording],
    backend: OnnxRuntimeBackend,
    steps: Steps,
) -> None:
    """The new bundle's folder: all of the old one but signature, manifest, card and drift reference.

    Raises:
        GateError: a device would not take it.
    """
    manifest = tuned.manifest
    with steps.step("bundle") as found:
        shutil.copytree(bundle.path, folder)
        (folder / "signature").unlink(missing_ok=True)
        rate = manifest.front_end.sample_rate_hz
        windows = draw_windows(training, DRIFT_WINDOWS, manifest.window_samples, rate).windows
        if write_drift(folder / DRIFT, windows, backend) is not None:
            found.append(DRIFT)
        before = (bundle.path / "card.md").read_text(encoding="utf-8")
        (folder / "card.md").write_text(retold(before, tuned), encoding="utf-8")
        write_manifest(folder, manifest)
        prove(folder)


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
        + "\n\n"
        + sources_section(tuned.sources)
    )


def _points(tuned: Tuned) -> str:
    masks = [
        f"{label.name} counts for as much as {' and '.join(label.masked_by)} leave of it: its score is multiplied by "
        "one less theirs, frame by frame."
        for label in tuned.manifest.labels
        if label.masked_by
    ]
    return "\n\n".join([operating_points(tuned.choices), *masks])
