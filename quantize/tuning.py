"""From recordings to operating points, and from those to events: runs the device's pipeline over a split.

Which point is best is `quantize.operating_points`; how events are scored is `edge.scoring`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def choose(
    clips: Sequence[LabelledClip],
    bundle: Bundle,
    backend: Backend,
    *,
    scenes: int,
    kept: Mapping[str, OperatingPoint] | None = None,
) -> list[Choice]:
    """Choose every label's operating point on the clips of the validation split and `scenes` scenes made of them.

    `kept` points, by label, are measured and not chosen.

    Raises:
        ExportError: a label of which no clip is known to lack it.
    """
    tracks = score_tracks(bundle, backend, clips, "validation")
    chosen = []
    for column, label in enumerate(bundle.manifest.labels):
        point = (kept or {}).get(label.name)
        if any(clip.recording.event == label.name and clip.recording.times_s for clip in clips):
            recordings = _event_tracks(clips, tracks, column)
            composed = _scene_tracks(clips, column, bundle, backend, scenes)
            chosen.append(choose_for_events(label.name, recordings, composed, _frame_s(bundle.manifest), kept=point))
        else:
            rows = [row for row, clip in enumerate(clips) if clip.holds[column] is not None]
            peaks = np.array([tracks[row][:, column].max() for row in rows])
            truth = np.array([bool(clips[row].holds[column]) for row in rows])
            chosen.append(choose_for_clips(label.name, peaks, truth, kept=point))
    return chosen


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


def _scene_tracks(
    clips: Sequence[LabelledClip], column: int, bundle: Bundle, backend: Backend, count: int
) -> list[EventTrack]:
    rate = bundle.manifest.front_end.sample_rate_hz
    pool = [(clip.recording, clip.samples) for clip in clips]
    composer = Composer(pool, bundle.manifest.labels[column].name, rate)
    composed = []
    for index in tqdm(range(count), desc="scenes", unit="scene", leave=False):
        scene = composer.scene(np.random.default_rng(index))
        track = score_track(bundle, backend, scene.samples)[:, column]
        composed.append(EventTrack(track, tuple(scene.onsets_s), SCENE_S))
    return composed


def _frame_s(manifest: Manifest) -> float:
    return manifest.front_end.hop_samples / manifest.front_end.sample_rate_hz
