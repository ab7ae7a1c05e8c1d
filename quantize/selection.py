"""Which way to quantise: calibrators, width of weights and layers that stay float, compared on validation windows.

Every way is tried as a whole graph in ONNX Runtime and judged by what comes out: signal to noise of the embedding and
AUROC of windows. The test split decides nothing here; whether the result may ship is `quantize.gate`'s to say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from align.statistics import auroc, clip_scores
from quantize.calibration import RECIPES, WIDTHS, Target, quantise, quantised_nodes, ranges_of
from quantize.checkpoint import Checkpoint
from quantize.histograms import CALIBRATORS, Calibrator, Histogram, collect
from quantize.parity import cosines, sqnr_db
from quantize.recordings import LabelledClip
from quantize.windows import CalibrationSet, log_mels, loudest_windows

STEPS_PER_S = 25.0
FEW = 150
"""Windows on which layers are compared."""

LARGEST_DROP = 0.005
"""Of a label's AUROC over validation windows; as much as the gate allows over test recordings."""

LEAST_SQNR_DB, LEAST_COSINE = 20.0, 0.995
"""Of the embedding: below, it points elsewhere though the scores may still be right."""

WIDER_GAIN = 0.001
"""AUROC that eight-bit weights must win over seven: those are computed right on every CPU, also without VNNI."""


@dataclass(frozen=True)
class Way:
    """A way to quantise an encoder, and what it does to the validation windows."""

    calibrator: Calibrator
    weight_bits: int
    kept_float: tuple[str, ...] = ()
    sqnr_db: float = np.nan
    """Of the embedding."""
    cosine: float = np.nan
    """Mean of the embedding."""
    drop: float = np.nan
    """AUROC of float32 less this one's, of the label that loses most."""
    label: str = ""
    """That label."""

    @property
    def holds(self) -> bool:
        """Whether it is good enough to be measured on test recordings."""
        return self.drop <= LARGEST_DROP and self.sqnr_db >= LEAST_SQNR_DB and self.cosine >= LEAST_COSINE


@dataclass(frozen=True)
class Sensitivity:
    """What one layer costs: decibels that the embedding gains when it alone goes back to float."""

    layer: str
    gain_db: float


@dataclass(frozen=True)
class Selection:
    """The way that was chosen, the others that were tried, and what each layer costs, dearest first."""

    chosen: Way
    tried: tuple[Way, ...]
    layers: tuple[Sensitivity, ...]


class Windows:
    """Validation windows as the encoder hears them, with what is known of each and what float32 says of it."""

    def __init__(
        self, log_mels: NDArray[np.float32], clips: Sequence[LabelledClip], labels: Sequence[str], float32: Path
    ) -> None:
        """Run float32 once.

        Args:
            log_mels: (n, mel, frames), one window a clip.
            clips: what each window is of.
            labels: in the order of the scores' columns.
            float32: the encoder to compare with.
        """
        self._log_mels, self._labels = log_mels, labels
        self._known = [np.array([clip.holds[column] is not None for clip in clips]) for column in range(len(labels))]
        self._truth = [np.array([bool(clip.holds[column]) for clip in clips]) for column in range(len(labels))]
        self._embedding, scores = self._run(float32)
        self._asked = [
            column
            for column, (known, truth) in enumerate(zip(self._known, self._truth, strict=True))
            if truth[known].any() and not truth[known].all()
        ]
        self._auroc = self._aurocs(scores)

    def judge(self, encoder: Path, way: Way) -> Way:
        """The way with its figures."""
        embedding, scores = self._run(encoder)
        drops = [before - after for before, after in zip(self._auroc, self._aurocs(scores), strict=True)]
        worst = int(np.argmax(drops))
        return replace(
            way,
            sqnr_db=sqnr_db(self._embedding, embedding),
            cosine=float(cosines(self._embedding, embedding).mean()),
            drop=drops[worst],
            label=self._labels[self._asked[worst]],
        )

    def sqnr_db(self, encoder: Path) -> float:
        """Signal to noise of the embedding over a few of the windows: enough to compare layers."""
        rows = np.linspace(0, len(self._log_mels) - 1, min(FEW, len(self._log_mels))).astype(np.int64)
        return sqnr_db(self._embedding[rows], self._run(encoder, rows)[0])

    def _run(
        self, encoder: Path, rows: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Embeddings (n, D) and window scores (n, labels)."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = ort.InferenceSession(str(encoder), options, providers=["CPUExecutionProvider"])
        embeddings, scores = [], []
        for log_mel in self._log_mels[rows]:
            embedding, score = session.run(["embedding", "scores"], {"log_mel": log_mel[np.newaxis]})
            embeddings.append(embedding[0].astype(np.float64))
            scores.append(clip_scores(score[0], STEPS_PER_S))
        return np.stack(embeddings), np.stack(scores)

    def _aurocs(self, scores: NDArray[np.float64]) -> list[float]:
        return [
            auroc(self._truth[column][self._known[column]], scores[self._known[column], column])
            for column in self._asked
        ]


def select(
    encoder: Path,
    calibration: CalibrationSet,
    validation: Sequence[LabelledClip],
    checkpoint: Checkpoint,
    target: Target,
    trial: Path,
) -> tuple[dict[str, Histogram], Selection]:
    """Count what the calibration windows do inside a float32 encoder, and choose how to quantise it.

    Args:
        encoder: float32.
        calibration: training windows.
        validation: clips, one window of each of which is compared.
        checkpoint: that the encoder was made from.
        target: whose Q/DQ placement.
        trial: a file that is overwritten again and again.
    """
    heard = log_mels(calibration.windows, checkpoint.front_end)
    histograms = collect(encoder, RECIPES[target].operators, heard)
    spoken = log_mels(loudest_windows(validation, checkpoint.window_samples), checkpoint.front_end)
    windows = Windows(spoken, validation, checkpoint.labels, encoder)
    return histograms, Selector(encoder, histograms, windows, target, trial).select()


class Selector:
    """Tries ways to quantise one encoder for one target; each is written, judged and forgotten."""

    def __init__(
        self, float32: Path, histograms: Mapping[str, Histogram], windows: Windows, target: Target, trial: Path
    ) -> None:
        """`trial`: a file that is overwritten again and again."""
        self._float32, self._histograms, self._windows = float32, histograms, windows
        self._target, self._trial = target, trial

    def select(self) -> Selection:
        """Compare calibrators, then widths, then layers, and put the dearest layers back to float until it holds."""
        width = WIDTHS[self._target][0]
        tried = [self._try(Way(calibrator, width)) for calibrator in CALIBRATORS]
        chosen = best(tried)
        for wider in WIDTHS[self._target][1:]:
            tried.append(self._try(Way(chosen.calibrator, wider)))
            if earns_its_bits(tried[-1], chosen):
                chosen = tried[-1]
        layers = self._layers(chosen)
        for layer in layers:
            if chosen.holds:
                break
            chosen = self._try(replace(chosen, kept_float=(*chosen.kept_float, layer.layer)))
            tried.append(chosen)
        return Selection(chosen, tuple(tried), tuple(layers))

    def _try(self, way: Way) -> Way:
        quantise_in(way, self._float32, self._trial, self._histograms, self._target)
        return self._windows.judge(self._trial, way)

    def _layers(self, way: Way) -> list[Sensitivity]:
        """What each layer costs, dearest first."""

        def noise_db(kept_float: tuple[str, ...]) -> float:
            tried = replace(way, kept_float=kept_float)
            quantise_in(tried, self._float32, self._trial, self._histograms, self._target)
            return self._windows.sqnr_db(self._trial)

        before = noise_db(())
        found = [Sensitivity(name, noise_db((name,)) - before) for name in quantised_nodes(self._float32)]
        return sorted(found, key=lambda layer: -layer.gain_db)


def quantise_in(way: Way, float32: Path, int8: Path, histograms: Mapping[str, Histogram], target: Target) -> None:
    """Write an encoder quantised in a way for a target."""
    ranges = ranges_of(histograms, way.calibrator, target)
    quantise(float32, int8, ranges, target, weight_bits=way.weight_bits, keep_float=way.kept_float)


def earns_its_bits(wider: Way, narrow: Way) -> bool:
    """Whether wider weights win so much that CPUs without VNNI are left with their overflow."""
    return wider.drop < narrow.drop - WIDER_GAIN or (wider.holds and not narrow.holds)


def best(ways: Sequence[Way]) -> Way:
    """The one with least noise among those that hold; where none does, the one that loses least AUROC."""
    holding = [way for way in ways if way.holds]
    return max(holding, key=lambda way: way.sqnr_db) if holding else min(ways, key=lambda way: way.drop)
