"""The steps of an export, from a student to a bundle in its place. They are here and nothing else; what each does has a
module of its own. `quantize.export` is the program.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from align.corpora.recording import Split
from distill.frontend import OPSET
from edge.backends.base import Backend
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, Label, Manifest, Metric, write_manifest
from edge.scoring import Report
from quantize.bundling import draft_manifest, prove, rebuilding, write_float16, write_float32, write_int8
from quantize.card import card
from quantize.config import ExportSettings
from quantize.drift import DRIFT, write_drift
from quantize.errors import GateError
from quantize.failures import find_failures
from quantize.gate import PRECISIONS, TITLES, Candidate, Form, Precision, Verdict, decide
from quantize.golden import golden_windows, write_golden
from quantize.graph import check_parity, check_target
from quantize.inputs import Inputs, plan, read_inputs
from quantize.jetson import write_jetson_files
from quantize.latency import graphs_ms
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, OutputError, Track, accuracy, of_clips, output_error, score_tracks
from quantize.recordings import LabelledClip, load_labelled
from quantize.results import Calibration, Results, report, summary, ways_table, write_report
from quantize.results import metrics as metrics_of
from quantize.selection import Selection, select
from quantize.sign import sign_bundle
from quantize.size import Size, size_of
from quantize.sources import SourceAccuracy
from quantize.steps import Steps, megabytes
from quantize.taught import is_taught
from quantize.tuning import choose, events
from quantize.windows import CalibrationSet, draw_windows, log_mels, loudest_windows

STEPS = 8
COMPARED_WINDOWS = 200

GOLDEN_TOLERANCE: Mapping[Precision, float] = {"float32": 1e-3, "int8": 0.05}
"""Other CPUs add in another order: that moves float32 by little, and INT8 by a step of rounding now and then."""


def export(settings: ExportSettings) -> int:
    """Export and return the exit status: 0, or 1 when a gate failed and the output folder is as it was.

    Raises:
        UserError: a wrong checkpoint, table, recording, key or output folder, or a disk that cannot take the bundle.
    """
    exporter = _opened(settings)
    if settings.dry_run:
        print(plan(exporter.inputs))
        return 0
    try:
        with rebuilding(settings.output) as scratch:
            results = exporter.run(scratch)
            told = json.dumps(report(results), indent=2, sort_keys=True)
            write_report(settings.report, told)
    except GateError as error:
        print(f"gate failed: {error}; {settings.output} was not touched", file=sys.stderr)
        return 1
    print(told if settings.as_json else summary(results, settings.output, signed=settings.key is not None))
    return 0


def _opened(settings: ExportSettings) -> Exporter:
    """Read and check the inputs.

    Raises:
        UserError: one of them is wrong.
    """
    if is_taught(settings.checkpoint):
        # Here, because that module builds on this one.
        from quantize.taught_export import opened

        return opened(settings)
    return Exporter(read_inputs(settings))


class Exporter:
    """The steps of one export; each is a method that leaves what later ones need. Owns the two draft bundles.

    As it stands, for events in time; `quantize.taught_export` replaces what differs for questions about recordings.
    """

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self._settings, self._checkpoint, self._splits = inputs.settings, inputs.checkpoint, inputs.splits
        self._draft = self._draft_manifest()
        self._rate = self._draft.front_end.sample_rate_hz
        self._golden = golden_windows(self._draft.window_samples, self._rate)
        self._scratch = Path()
        self._size = Size(0, 0, self._draft.window_s)
        self._bundles: dict[Form, Bundle] = {}
        self._backends: dict[Form, OnnxRuntimeBackend] = {}
        self._steps = Steps(STEPS, sys.stderr if self._settings.as_json else sys.stdout)

    def run(self, scratch: Path) -> Results:
        """Run all steps; the finished and proven bundle is then in `scratch / "bundle"`.

        Raises:
            GateError: a check failed.
        """
        self._scratch = scratch
        self._bundles = {form: Bundle(scratch / form, self._draft) for form in TITLES}
        # Two threads on one window cost more than they bring, and the sums would depend on the number of cores.
        torch.set_num_threads(1)
        clips = self._read()
        self._make_float32(clips["test"])
        calibration, selection = self._make_int8(clips["validation"])
        latency_ms, errors = self._compare()
        candidates, tracks, verdict = self._measure(clips["test"], latency_ms, errors)
        ships = verdict.precision
        with self._steps.step("operating points on the validation split") as found:
            model = self._bundles[ships], self._backends[ships]
            choices = self._choose(clips["validation"], *model)
            heard = self._events(choices, clips["test"], tracks[ships])
            found += [f"{one.label} on {one.point.on:g} ({one.criterion} {one.value:.3f})" for one in choices]
        frames_per_s = self._rate / self._draft.front_end.hop_samples
        results = Results(
            checkpoint=self._checkpoint,
            target=self._settings.target,
            manifest=self._manifest(choices, ships, self._metrics(candidates[ships].accuracy, heard)),
            size=self._size,
            candidates=candidates,
            verdict=verdict,
            frontend_ms=latency_ms["front-end"],
            calibration=Calibration(len(calibration.windows), calibration.strata, calibration.index_sha256),
            selection=selection,
            choices=choices,
            events=heard,
            sources=self._sources(clips["test"], tracks[ships]),
            failures=find_failures(choices, clips["test"], tracks[ships], frames_per_s),
            left_out=self.inputs.left_out,
            never_labels=self.inputs.never_labels,
            recordings={split: len(rows) for split, rows in self._splits.items()},
        )
        self._finish(results, calibration)
        return results

    def _read(self) -> dict[Split, list[LabelledClip]]:
        """Decode what is scored; calibration opens its few training recordings itself."""
        with self._steps.step("recordings") as found:
            names: tuple[Split, ...] = ("validation", "test")
            clips = {split: self._load(split) for split in names}
            found += [f"{split} {len(rows)}" for split, rows in self._splits.items()]
            found += [f"without {label.label}: {label.reason}" for label in self.inputs.left_out]
        return clips

    def _make_float32(self, test: Sequence[LabelledClip]) -> None:
        with self._steps.step("float32 graphs") as found:
            bundle = self._bundles["float32"]
            write_float32(bundle, self._checkpoint, self._settings.batch)
            self._backends["float32"] = OnnxRuntimeBackend(bundle)
            real = loudest_windows(test[:: max(1, len(test) // 20)], self._draft.window_samples)
            largest = check_parity(self._checkpoint, self._backends["float32"], np.concatenate([self._golden, real]))
            self._size = size_of(self._checkpoint.student, bundle.encoder_path, self._draft.window_s)
            found += [
                f"{self._size}",
                megabytes(bundle.encoder_path),
                f"opset {OPSET}",
                f"within {largest:.1e} of torch",
            ]

    def _make_int8(self, validation: Sequence[LabelledClip]) -> tuple[CalibrationSet, Selection]:
        settings, float32, int8 = self._settings, self._bundles["float32"], self._bundles["int8"]
        target, trial = settings.target, self._scratch / "trial.onnx"
        with self._steps.step("calibration") as found:
            count, samples, encoder = settings.calibration_windows, self._draft.window_samples, float32.encoder_path
            calibration = draw_windows(self._splits["train"], count, samples, self._rate)
            histograms, selection = select(encoder, calibration, validation, self._checkpoint, target, trial)
            found += [f"{count} training windows from {calibration.strata} strata", f"{len(validation)} to compare on"]
            found += [f"{selection.chosen.calibrator} of {len(selection.tried)} ways"]
        self._steps.show(ways_table(selection))
        with self._steps.step("INT8 graph") as found:
            write_int8(int8, float32, calibration, target, histograms=histograms, way=selection.chosen)
            found += [megabytes(int8.encoder_path), *check_target(int8.encoder_path, target)]
            self._backends["int8"] = OnnxRuntimeBackend(int8)
            if target == "jetson":
                half = self._bundles["float16"]
                write_float16(half, float32)
                self._backends["float16"] = OnnxRuntimeBackend(half)
        return calibration, selection

    def _compare(self) -> tuple[dict[str, float], dict[Form, OutputError]]:
        with self._steps.step("outputs and speed of one core") as found:
            samples = self._draft.window_samples
            windows = draw_windows(self._splits["test"], COMPARED_WINDOWS, samples, self._rate).windows
            heard = log_mels(windows, self._draft.front_end)
            # A graph for TensorRT is slow here by its nature, which says nothing about the board.
            timed = PRECISIONS if self._settings.target == "cpu" else ("float32",)
            latency_ms = graphs_ms(
                {name: self._bundles[name].encoder_path for name in timed}
                | {"front-end": self._bundles["float32"].frontend_path},
                dict.fromkeys(timed, heard) | {"front-end": windows},
            )
            found += [f"{name} {value:.2f} ms a window" for name, value in latency_ms.items()]
            float32 = self._backends["float32"]
            errors: dict[Form, OutputError] = {}
            for name in [form for form in self._backends if form != "float32"]:
                errors[name] = output_error(float32, self._backends[name], windows)
                found.append(f"{TITLES[name]} {errors[name]}")
        return latency_ms, errors

    def _measure(
        self, test: Sequence[LabelledClip], latency_ms: Mapping[str, float], errors: Mapping[Form, OutputError]
    ) -> tuple[dict[Form, Candidate], dict[Form, list[Track]], Verdict]:
        with self._steps.step("accuracy on the test split") as found:
            tracks: dict[Form, list[Track]] = {}
            candidates: dict[Form, Candidate] = {}
            for name, backend in self._backends.items():
                tracks[name] = score_tracks(self._bundles[name], backend, test, name)
                size = self._bundles[name].encoder_path.stat().st_size
                labels = self._accuracy(test, tracks[name], tracks["float32"])
                candidates[name] = Candidate(size, latency_ms.get(name), tuple(labels), errors.get(name))
            worst = candidates["int8"].worst
            found += [f"INT8 loses most for {worst.label}, {worst.drop.value:+.4f} (up to {worst.drop.high:+.4f})"]
        allow_drop, target = self._settings.allow_drop, self._settings.target
        verdict = decide(self._settings.precision, candidates, target=target, allow_drop=allow_drop)
        return candidates, tracks, verdict

    def _finish(self, results: Results, training: CalibrationSet) -> None:
        """Complete the folder of what ships, sign it and prove it."""
        with self._steps.step("bundle") as found:
            manifest = results.manifest
            folder = self._bundles[manifest.precision].path.rename(self._scratch / "bundle")
            write_golden(folder / "golden.npz", self._golden, self._backends[manifest.precision])
            write_drift(folder / DRIFT, training.windows, self._backends[manifest.precision])
            (folder / "card.md").write_text(self._card(results), encoding="utf-8")
            if self._settings.target == "jetson":
                files = write_jetson_files(folder, self._bundles["int8"].encoder_path, results.verdict.precision)
                manifest = manifest.model_copy(update={"tensorrt_tolerance": files.tolerance})
                found += files.words
            write_manifest(folder, manifest)
            if self.inputs.key is not None:
                sign_bundle(folder, self.inputs.key)
            prove(folder, self.inputs.key)
            found += [f"{path.name} {megabytes(path)}" for path in sorted(folder.iterdir())]

    def _draft_manifest(self) -> Manifest:
        """What is known before anything is measured."""
        return draft_manifest(self._settings.name, self._settings.version, self._checkpoint)

    def _manifest(self, choices: Sequence[Choice], ships: Precision, figures: tuple[Metric, ...]) -> Manifest:
        """The draft with what was chosen and measured."""
        # On a board ONNX Runtime stands by in float32; what was measured is the graph of the engine.
        runs: Precision = "float32" if self._settings.target == "jetson" else ships
        return self._draft.model_copy(
            update={
                "labels": tuple(Label(name=choice.label, operating_point=choice.point) for choice in choices),
                "precision": runs,
                "golden_tolerance": GOLDEN_TOLERANCE[runs],
                "metrics": figures,
            }
        )

    def _load(self, split: Split) -> list[LabelledClip]:
        """Decode a split and say what is known of each recording."""
        return load_labelled(self._splits[split], self._checkpoint)

    def _accuracy(
        self, test: Sequence[LabelledClip], tracks: Sequence[Track], reference: Sequence[Track]
    ) -> list[LabelAccuracy]:
        """What a candidate's tracks are worth, beside those of float32."""
        rounds = self._settings.bootstrap_rounds
        return accuracy(self._checkpoint.labels, test, tracks, reference, rounds=rounds)

    def _choose(self, validation: Sequence[LabelledClip], bundle: Bundle, backend: Backend) -> list[Choice]:
        """An operating point for each label."""
        return choose(validation, bundle, backend, scenes=self._settings.scenes)

    def _events(
        self, choices: Sequence[Choice], test: Sequence[LabelledClip], tracks: Sequence[Track]
    ) -> dict[str, Report]:
        """Events at those points against marked ones."""
        return events(choices, test, tracks, self._draft)

    def _sources(self, test: Sequence[LabelledClip], tracks: Sequence[Track]) -> tuple[SourceAccuracy, ...]:
        """AUROC of each label in each source."""
        return of_clips(self._checkpoint.labels, test, tracks, rounds=self._settings.bootstrap_rounds)

    def _metrics(self, measured: Sequence[LabelAccuracy], heard: Mapping[str, Report]) -> tuple[Metric, ...]:
        """Figures for the manifest."""
        return metrics_of(measured, heard)

    def _card(self, results: Results) -> str:
        """The model card."""
        return card(results)
