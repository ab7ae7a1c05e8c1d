"""From recordings to operating points, and from those to events: runs the device's pipeline over a split.

Which point is best is `quantize.operating_points`; how events are scored is `edge.scoring`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from edge.backends.base import Backend
from edge.bundle import Bundle, Manifest, OperatingPoint
from edge.events import segment
from edge.marks import Recording as Marked
from edge.scoring import Report, score
from quantize.operating_points import Choice, EventTrack, choose_for_clips, choose_for_events
from quantize.parity import Track, score_track, score_tracks
from quantize.recordings import LabelledClip
from quantize.scenes import SCENE_S, Composer


@dataclass(frozen=True)
class Trial:
    """A net as a device runs it, and clips of people whom it never heard."""

    clips: Sequence[LabelledClip]
    bundle: Bundle
    backend: Backend


def choose(trials: Sequence[Trial], *, scenes: int, kept: Mapping[str, OperatingPoint] | None = None) -> list[Choice]:
    """Choose every label's operating point on the clips of all trials, and scenes made of them.

    `scenes` are made of the clips of each trial that has marked times of the label.

    All trials have the same labels. `kept` points, by label, are measured and not chosen.

    Raises:
        ExportError: a label of which no clip is known to lack it.
    """
    heard = [(trial, score_tracks(trial.bundle, trial.backend, trial.clips, "validation")) for trial in trials]
    manifest = trials[0].bundle.manifest
    chosen = []
    for column, label in enumerate(manifest.labels):
        point = (kept or {}).get(label.name)
        marked = [trial for trial in trials if _has_marks(trial.clips, label.name)]
        if marked:
            recordings = [track for trial, tracks in heard for track in _event_tracks(trial.clips, tracks, column)]
            composed = [track for trial in marked for track in _scene_tracks(trial, column, scenes)]
            chosen.append(choose_for_events(label.name, recordings, composed, _frame_s(manifest), kept=point))
        else:
            known = [
                (tracks[row][:, column].max(), bool(clip.holds[column]))
                for trial, tracks in heard
                for row, clip in enumerate(trial.clips)
                if clip.holds[column] is not None
            ]
            peaks, truth = (np.array(values) for values in zip(*known, strict=True))
            chosen.append(choose_for_clips(label.name, peaks, truth, kept=point))
    return chosen


def _has_marks(clips: Sequence[LabelledClip], label: str) -> bool:
    return any(clip.recording.event == label and clip.recording.times_s for clip in clips)


def events(
    choices: Sequence[Choice], clips: Sequence[LabelledClip], tracks: Sequence[Track], manifest: Manifest
) -> dict[str, Report]:
    """Score events at the chosen points, for each label that has marked recordings among the clips.

    Recordings of the same corpora that are known not to hold the label count with their false positives.
    """
    reports = {}
    frame_s = _frame_s(manifest)
    for column, choice in enumerate(choices):
        scored = _event_tracks(clips, tracks, column)
        if not any(track.onsets_s for track in scored):
            continue
        marked = [
            Marked(
                str(place),
                track.onsets_s,
                tuple(onset * frame_s for onset, _, _ in segment(track.scores, choice.point, frame_s)),
                track.duration_s,
            )
            for place, track in enumerate(scored)
        ]
        reports[choice.label] = score(marked, label=choice.label)
    return reports


def _event_tracks(clips: Sequence[LabelledClip], tracks: Sequence[Track], column: int) -> list[EventTrack]:
    """The tracks of corpora with marked times in which every event of a label is known, of its absence too.

    What other corpora hold is heard in scenes, as often as at home and not clip upon clip.
    """
    marked = {clip.recording.corpus for clip in clips if clip.holds[column] and clip.recording.times_s}
    return [
        EventTrack(track[:, column], tuple(onset for onset, _ in clip.recording.times_s), clip.duration_s)
        for clip, track in zip(clips, tracks, strict=True)
        if clip.recording.corpus in marked
        and (clip.holds[column] is False or (clip.holds[column] and clip.recording.times_s))
    ]


def _scene_tracks(trial: Trial, column: int, count: int) -> list[EventTrack]:
    manifest = trial.bundle.manifest
    pool = [(clip.recording, clip.samples) for clip in trial.clips]
    composer = Composer(pool, manifest.labels[column].name, manifest.front_end.sample_rate_hz)
    composed = []
    for index in tqdm(range(count), desc="scenes", unit="scene", leave=False):
        scene = composer.scene(np.random.default_rng(index))
        track = score_track(trial.bundle, trial.backend, scene.samples)[:, column]
        composed.append(EventTrack(track, tuple(scene.onsets_s), SCENE_S))
    return composed


def _frame_s(manifest: Manifest) -> float:
    return manifest.front_end.hop_samples / manifest.front_end.sample_rate_hz
