"""Turn a trained student into a bundle: `python -m quantize.export --checkpoint runs/room/last.ckpt ...`.

Builds beside the output folder and puts the bundle in place only after it passed every gate: float32 parity with torch,
AUROC against the checkpoint, hashes, golden vectors. The same checkpoint in the same precision gives the same bytes
again, which is why no clock time and no speed is written into a bundle; `--report` keeps those.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from numpy.typing import NDArray

from align.corpora import Recording
from align.corpora.recording import Split
from distill.frontend import OPSET
from edge.backends.base import Backend
from edge.backends.onnxruntime import OnnxRuntimeBackend
from edge.bundle import Bundle, Label, Manifest, Metric, write_manifest
from edge.scoring import Report
from edge.settings import run_program
from quantize.bundling import draft_manifest, prove, refuse_foreign, replace, write_float32, write_int8
from quantize.card import card
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.config import ExportSettings
from quantize.errors import ExportError, GateError
from quantize.golden import golden_windows, write_golden
from quantize.graph import TorchBackend, check_parity
from quantize.latency import graphs_ms
from quantize.operating_points import Choice
from quantize.parity import LabelAccuracy, OutputError, Track, accuracy, output_error, score_tracks
from quantize.recordings import LabelledClip, load_labelled, read_splits
from quantize.results import PRECISIONS, Calibration, Candidate, Precision, Results, check_drop, decide, report, table
from quantize.results import metrics as metrics_of
from quantize.taught import is_taught
from quantize.tuning import choose, events
from quantize.windows import CalibrationSet, draw_windows

STEPS = 7
COMPARED_WINDOWS = 200

GOLDEN_TOLERANCE: Mapping[Precision, float] = {"float32": 1e-3, "int8": 0.05}
"""Other CPUs add in another order: that moves float32 by little, and INT8 by a step of rounding now and then."""


def export(settings: ExportSettings) -> int:
    """Export and return the exit status: 0, or 1 when a gate failed and the output folder is as it was.

    Raises:
        UserError: a wrong checkpoint, table, recording or output folder.
    """
    if settings.target == "jetson":
        raise ExportError(
            "target jetson: TensorRT bundles cannot be made yet; --target cpu makes one that runs there too"
        )
    refuse_foreign(settings.output)
    begin = _opened(settings)
    if settings.report is not None and not settings.report.parent.is_dir():
        raise ExportError(f"{settings.report}: there is no folder {settings.report.parent}; make it first")
    with _beside(settings.output) as scratch:
        try:
            results = begin(Path(scratch)).run()
        except GateError as error:
            print(f"gate failed: {error}; {settings.output} was not touched", file=sys.stderr)
            return 1
        replace(Path(scratch) / "bundle", settings.output, Path(scratch) / "old")
    if settings.report is not None:
        settings.report.write_text(json.dumps(report(results), indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"\n{table(results)}\n\nbundle: {settings.output}")
    print(f"next: python -m edge verify --bundle.allow_unsigned {settings.output}")
    return 0


def _opened(settings: ExportSettings) -> Callable[[Path], Exporter]:
    """Read checkpoint and table; what this gives makes the exporter once there is a scratch folder.

    Raises:
        UserError: one of them is wrong.
    """
    if is_taught(settings.checkpoint):
        # Here, because that module builds on this one.
        from quantize.taught_export import opened

        return opened(settings)
    checkpoint = load_checkpoint(settings.checkpoint)
    if settings.labels:
        raise ExportError(f"labels: only a student of distill.teach can leave some out, not {settings.checkpoint}")
    splits = read_splits(settings.recordings, checkpoint)
    return lambda scratch: Exporter(settings, checkpoint, splits, scratch)


def _beside(output: Path) -> TemporaryDirectory[str]:
    """A scratch folder on the output's disk, so that the bundle is put in place by renaming."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        return TemporaryDirectory(dir=output.parent, prefix=f".{output.name}-")
    except OSError as error:
        raise ExportError(f"{output.parent}: cannot be written ({error.strerror}); name another --output") from error


class Exporter:
    """The seven steps of one export; each is a method that leaves what later ones need. Owns the two draft bundles.

    As it stands, for events in time; `quantize.taught_export` replaces what differs for questions about recordings.
    """

    def __init__(
        self, settings: ExportSettings, checkpoint: Checkpoint, splits: dict[Split, list[Recording]], scratch: Path
    ) -> None:
        self._settings, self._checkpoint, self._splits, self._scratch = settings, checkpoint, splits, scratch
        self._draft = self._draft_manifest()
        self._rate = self._draft.front_end.sample_rate_hz
        self._golden = golden_windows(self._draft.window_samples, self._rate)
        self._bundles = {precision: Bundle(scratch / precision, self._draft) for precision in PRECISIONS}
        self._backends: dict[Precision, OnnxRuntimeBackend] = {}
        self._done = 0

    def run(self) -> Results:
        """Run all steps; the finished and proven bundle is then in `scratch / "bundle"`.

        Raises:
            GateError: a check failed.
        """
        # Two threads on one window cost more than they bring, and the sums would depend on the number of cores.
        torch.set_num_threads(1)
        clips = self._read()
        self._make_float32()
        calibration = self._make_int8()
        latency_ms, error = self._compare()
        candidates, tracks = self._measure(clips["test"], latency_ms)
        verdict = decide(self._settings.precision, candidates)
        check_drop(verdict.precision, candidates[verdict.precision])
        with self._step("operating points on the validation split") as found:
            ships = verdict.precision
            model = self._bundles[ships], self._backends[ships]
            choices = self._choose(clips["validation"], *model)
            heard = self._events(choices, clips["test"], tracks[ships])
            found += [f"{one.label} on {one.point.on:g} ({one.criterion} {one.value:.3f})" for one in choices]
        manifest = self._draft.model_copy(
            update={
                "labels": tuple(Label(name=choice.label, operating_point=choice.point) for choice in choices),
                "precision": ships,
                "golden_tolerance": GOLDEN_TOLERANCE[ships],
                "metrics": self._metrics(candidates[ships].accuracy, heard),
            }
        )
        results = Results(
            checkpoint=self._checkpoint,
            manifest=manifest,
            candidates=candidates,
            verdict=verdict,
            frontend_ms=latency_ms["front-end"],
            output_error=error,
            calibration=Calibration(len(calibration.windows), calibration.strata, calibration.index_sha256),
            choices=choices,
            events=heard,
            recordings={split: len(rows) for split, rows in self._splits.items()},
        )
        self._finish(results)
        return results

    def _read(self) -> dict[Split, list[LabelledClip]]:
        """Step 1: decode what is scored; calibration opens its few training recordings itself."""
        with self._step("recordings") as found:
            names: tuple[Split, ...] = ("validation", "test")
            clips = {split: self._load(split) for split in names}
            found += [f"{split} {len(rows)}" for split, rows in self._splits.items()]
        return clips

    def _make_float32(self) -> None:
        """Step 2."""
        with self._step("float32 graphs") as found:
            bundle = self._bundles["float32"]
            write_float32(bundle, self._checkpoint)
            self._backends["float32"] = OnnxRuntimeBackend(bundle)
            largest = check_parity(self._checkpoint, self._backends["float32"], self._golden)
            found += [_size(bundle.encoder_path), f"opset {OPSET}", f"within {largest:.1e} of torch"]

    def _make_int8(self) -> CalibrationSet:
        """Step 3."""
        with self._step("INT8 graph") as found:
            bundle, count = self._bundles["int8"], self._settings.calibration_windows
            calibration = draw_windows(self._splits["train"], count, self._draft.window_samples, self._rate)
            write_int8(bundle, self._bundles["float32"], calibration)
            self._backends["int8"] = OnnxRuntimeBackend(bundle)
            found += [_size(bundle.encoder_path), f"{count} training windows from {calibration.strata} strata"]
        return calibration

    def _compare(self) -> tuple[dict[str, float], OutputError]:
        """Step 4."""
        with self._step("speed of one core") as found:
            windows: NDArray[np.float32] = draw_windows(
                self._splits["test"], COMPARED_WINDOWS, self._draft.window_samples, self._rate
            ).windows
            log_mels = np.stack([self._backends["float32"].infer(window).log_mel for window in windows])
            latency_ms = graphs_ms(
                {name: bundle.encoder_path for name, bundle in self._bundles.items()}
                | {"front-end": self._bundles["float32"].frontend_path},
                dict.fromkeys(PRECISIONS, log_mels) | {"front-end": windows},
            )
            found += [f"{name} {value:.2f} ms a window" for name, value in latency_ms.items()]
            return latency_ms, output_error(self._backends["float32"], self._backends["int8"], windows)

    def _measure(
        self, test: Sequence[LabelledClip], latency_ms: Mapping[str, float]
    ) -> tuple[dict[Precision, Candidate], dict[Precision, list[Track]]]:
        """Step 5."""
        with self._step("accuracy on the test split") as found:
            reference = score_tracks(self._bundles["float32"], TorchBackend(self._checkpoint), test, "checkpoint")
            tracks = {name: score_tracks(self._bundles[name], self._backends[name], test, name) for name in PRECISIONS}
            candidates = {}
            for name in PRECISIONS:
                size = self._bundles[name].encoder_path.stat().st_size
                labels = self._accuracy(test, tracks[name], reference)
                candidates[name] = Candidate(size, latency_ms[name], tuple(labels))
                found.append(f"{name} at most {candidates[name].worst.drop.value:+.4f} below the checkpoint")
        return candidates, tracks

    def _finish(self, results: Results) -> None:
        """Step 7: complete the folder of what ships and prove it."""
        with self._step("bundle") as found:
            ships = results.verdict.precision
            folder = self._bundles[ships].path.rename(self._scratch / "bundle")
            write_golden(folder / "golden.npz", self._golden, self._backends[ships])
            (folder / "card.md").write_text(self._card(results), encoding="utf-8")
            write_manifest(folder, results.manifest)
            prove(folder)
            found += [f"{path.name} {_size(path)}" for path in sorted(folder.iterdir())]

    def _draft_manifest(self) -> Manifest:
        """What is known before anything is measured."""
        return draft_manifest(self._settings.name, self._settings.version, self._checkpoint)

    def _load(self, split: Split) -> list[LabelledClip]:
        """Decode a split and say what is known of each recording."""
        return load_labelled(self._splits[split], self._checkpoint)

    def _accuracy(
        self, test: Sequence[LabelledClip], tracks: Sequence[Track], reference: Sequence[Track]
    ) -> list[LabelAccuracy]:
        """What a candidate's tracks are worth, beside those of the checkpoint."""
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

    def _metrics(self, measured: Sequence[LabelAccuracy], heard: Mapping[str, Report]) -> tuple[Metric, ...]:
        """Figures for the manifest."""
        return metrics_of(measured, heard)

    def _card(self, results: Results) -> str:
        """The model card."""
        return card(results)

    @contextmanager
    def _step(self, title: str) -> Iterator[list[str]]:
        """Number a step and print it at its end with its time and what was appended to the list that this gives."""
        start, found = time.perf_counter(), list[str]()
        yield found
        self._done += 1
        print(f"[{self._done}/{STEPS}] {title}: {', '.join(found)} ({time.perf_counter() - start:.1f} s)", flush=True)


def _size(path: Path) -> str:
    return f"{path.stat().st_size / 1e6:.2f} MB"


def main() -> int:
    """Turn a trained student into a bundle for a device and measure what quantising costs."""
    return run_program(ExportSettings, export, prog="python -m quantize.export", description=main.__doc__ or "")


if __name__ == "__main__":
    sys.exit(main())
