"""Times of events that nobody marked, found by an earlier net in the recordings that it was trained on.

One corpus in ten has hand-marked times; of the others only a clip's label is known, so the net is told little of when.
A net trained on that finds the events of a clean recording well enough to teach a second one, which hears the recording
in noise, rooms and channels (noisy student: Xie et al., arXiv 1911.04252). Only labels with marked recordings are
marked, and only in recordings that the corpus says hold them. It never marks what a figure is measured on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from align.audio import load
from align.corpora import Recording
from distill.module import StudentTask
from edge.errors import UserError
from edge.events import segment
from edge.manifest import OperatingPoint
from edge.track import ScoreTrack
from edge.windows import Windower

HOP_S = 0.5

LEAST_PEAK = 0.5
"""A recording in which the net is nowhere surer than this keeps its clip label and no times."""

PEAK_SHARE, LEAST_ON, MOST_ON = 0.6, 0.3, 0.6
"""An event begins at this share of the recording's highest score, within these bounds: quiet recordings score lower."""


def open_marker(path: Path, data: Mapping[str, Any], labels: Sequence[str]) -> StudentTask:
    """The net that marks.

    Args:
        path: checkpoint of `distill.train`.
        data: of the training that is to be taught: `seed`, `validation_share` and `exclude_corpora`.
        labels: of that training.

    Raises:
        UserError: no such checkpoint, other labels, or it heard people whom this training holds out.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train it first, or leave out marks_from")
    try:
        task = StudentTask.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle, zip, runtime and key errors for damaged files
        raise UserError(f"{path}: not a checkpoint of distill.train") from error
    if task.labels != tuple(labels):
        raise UserError(f"{path}: its labels are {', '.join(task.labels)}, those to teach {', '.join(labels)}")
    known = task.hparams["data"]
    for name, value in data.items():
        if known[name] != value:
            raise UserError(
                f"{path}: trained with {name} = {known[name]}, this training has {value}: it may have heard people who "
                "are held out here; give both the same"
            )
    return task.eval()


def mark(recordings: Sequence[Recording], marker: StudentTask) -> list[Recording]:
    """The training recordings, with times where the net finds the event that they are known to hold."""
    taught = {row.event for row in recordings if row.times_s} & set(marker.labels)
    return [
        replace(row, times_s=times_of(row, marker))
        if row.split == "train" and row.event in taught and not row.times_s
        else row
        for row in tqdm(recordings, desc="mark", unit="clip")
    ]


def times_of(recording: Recording, marker: StudentTask) -> tuple[tuple[float, float], ...]:
    """(onset, offset) in seconds of each event that the net is sure of."""
    samples = load(recording.path, marker.front_end.sample_rate_hz)
    scores = fused_track(marker, samples)[:, marker.labels.index(recording.event)]
    peak = float(scores.max(initial=0.0))
    if peak < LEAST_PEAK:
        return ()
    on = min(MOST_ON, max(LEAST_ON, PEAK_SHARE * peak))
    point = OperatingPoint(
        on=on, off=on / 2, minimum_duration_s=0.08, merge_gap_s=0.04, refractory_s=0.24, split_depth=0.3
    )
    frame_s = marker.front_end.hop_samples / marker.front_end.sample_rate_hz
    return tuple((onset * frame_s, offset * frame_s) for onset, offset, _ in segment(scores, point, frame_s))


def fused_track(marker: StudentTask, samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores (frames, labels), one a front-end hop, fused over overlapping windows as the device does."""
    front_end, size = marker.front_end, marker.window_samples
    windower = Windower(size, round(HOP_S * front_end.sample_rate_hz))
    fusion = ScoreTrack(
        frame_samples=front_end.hop_samples,
        window_samples=size,
        hop_samples=round(HOP_S * front_end.sample_rate_hz),
        step_samples=marker.step_samples,
        labels=len(marker.labels),
    )
    chunks = [
        fusion.add(window, marker.scores(torch.tensor(window.samples[np.newaxis]))[0]).scores
        for window in chain(windower.push(samples), windower.flush())
    ]
    return np.concatenate([*chunks, fusion.flush(windower.end).scores])
