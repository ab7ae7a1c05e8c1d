"""The export of a student of `distill.teach`: the steps of `quantize.exporter` with questions in the place of events.

Replaces what differs: which recordings, what is known of them, how a score track is judged, which operating points,
which words. Graphs, calibration, gates and the bundle's folder are those of every export.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from align.corpora.recording import Split
from edge.backends.base import Backend
from edge.bundle import Bundle, Manifest, Metric
from edge.scoring import Report
from quantize.config import ExportSettings
from quantize.exporter import Exporter
from quantize.inputs import Inputs, check_places
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, Track, score_tracks
from quantize.questions import choose_sustained, load_clips, question_accuracy, read_question_splits
from quantize.recordings import LabelledClip
from quantize.results import Results, auroc_metrics
from quantize.sources import SourceAccuracy
from quantize.taught import PROMPTS, Taught, load_taught
from quantize.taught_card import taught_card

CONTACT = {"heart", "lung"}
"""Modalities of recordings for which a microphone lay on the body."""


def opened(settings: ExportSettings) -> TaughtExporter:
    """Read student, table and key.

    Raises:
        UserError: one of them is wrong.
    """
    key = check_places(settings)
    taught = load_taught(settings.checkpoint, settings.labels)
    splits = read_question_splits(settings.recordings, taught)
    return TaughtExporter(Inputs(settings, taught.checkpoint, (), (), splits, key), taught)


class TaughtExporter(Exporter):
    """Judges recordings and people; has no marked events."""

    def __init__(self, inputs: Inputs, taught: Taught) -> None:
        self._taught = taught
        super().__init__(inputs)

    def _draft_manifest(self) -> Manifest:
        touched = {row.modality for row in self._splits["train"]} <= CONTACT
        modality = "contact" if touched else "airborne"
        return super()._draft_manifest().model_copy(update={"hop_s": self._taught.hop_s, "modality": modality})

    def _load(self, split: Split) -> list[LabelledClip]:
        return load_clips(self._splits[split], self._taught)

    def _accuracy(
        self, test: Sequence[LabelledClip], tracks: Sequence[Track], reference: Sequence[Track]
    ) -> list[LabelAccuracy]:
        rounds = self._settings.bootstrap_rounds
        return question_accuracy(self._taught.questions, test, tracks, reference, rounds=rounds)

    def _choose(self, validation: Sequence[LabelledClip], bundle: Bundle, backend: Backend) -> list[Choice]:
        tracks = score_tracks(bundle, backend, validation, "validation")
        chosen = []
        for column, label in enumerate(self._taught.checkpoint.labels):
            rows = [row for row, clip in enumerate(validation) if clip.holds[column] is not None]
            scores = np.array([tracks[row][:, column].mean(dtype=np.float64) for row in rows])
            truth = np.array([bool(validation[row].holds[column]) for row in rows])
            chosen.append(choose_sustained(label, scores, truth, bundle.manifest.window_s))
        return chosen

    def _events(
        self,
        choices: Sequence[Choice],  # noqa: ARG002 - nobody marks when a question is answered
        test: Sequence[LabelledClip],  # noqa: ARG002
        tracks: Sequence[Track],  # noqa: ARG002
    ) -> dict[str, Report]:
        return {}

    def _sources(self, test: Sequence[LabelledClip], tracks: Sequence[Track]) -> tuple[SourceAccuracy, ...]:  # noqa: ARG002
        # A person's score is no clip's; contact audio of two sources is not there yet.
        return ()

    def _metrics(self, measured: Sequence[LabelAccuracy], heard: Mapping[str, Report]) -> tuple[Metric, ...]:  # noqa: ARG002
        return tuple(auroc_metrics(measured, "{positives} yes, {negatives} no"))

    def _card(self, results: Results) -> str:
        folder = self._scratch / "bundle"
        self._taught.write_prompts(folder)
        return taught_card(results, (folder / PROMPTS).exists())
