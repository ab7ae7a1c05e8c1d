"""What the shipped detector gets wrong on test recordings: its worst false alarms and misses, and what sets it off.

A recording counts as an alarm of a label when the device would report at least one event of it there. It says which
recordings, so that whoever has the corpus can listen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from align.statistics import clip_scores
from edge.events import segment
from quantize.operating_points import Choice
from quantize.parity import Track
from quantize.recordings import LabelledClip

SHOWN = 10


@dataclass(frozen=True)
class Failure:
    """A recording that was told wrongly."""

    label: str
    kind: str
    """`false alarm` or `miss`."""
    event: str
    """What the corpus says it is."""
    recording: str
    """Corpus and file."""
    score: float
    """Mean over the highest-scored second."""


@dataclass(frozen=True)
class Wrong:
    """How many recordings are told wrongly, of how many that could be."""

    label: str
    false_alarms: int
    without: int
    """Recordings that are known not to hold the label."""
    misses: int
    holding: int


@dataclass(frozen=True)
class Trigger:
    """How often a sound that is no label is reported as one."""

    event: str
    clips: int
    alarms: tuple[int, ...]
    """Clips with at least one event of each label."""


@dataclass(frozen=True)
class Failures:
    """All of it, on the test split."""

    counts: tuple[Wrong, ...]
    """Of each label."""
    worst: tuple[Failure, ...]
    """At most ten false alarms and ten misses a label, the worst first."""
    triggers: tuple[Trigger, ...]
    """Sounds that set off a label at least once, the commonest first."""
    silent: int
    """Kinds of sound that are no label and set off none."""


def find_failures(
    choices: Sequence[Choice], clips: Sequence[LabelledClip], tracks: Sequence[Track], frames_per_s: float
) -> Failures:
    """Look for them at the chosen operating points.

    Args:
        choices: in the order of the tracks' columns.
        clips: of the test split.
        tracks: of what ships, in the order of the clips.
        frames_per_s: frames of a track a second.
    """
    alarms = [
        [bool(segment(track[:, column], choice.point, 1.0 / frames_per_s)) for column, choice in enumerate(choices)]
        for track in tracks
    ]
    scores = [clip_scores(track, frames_per_s) for track in tracks]
    worst: list[Failure] = []
    counts: list[Wrong] = []
    for column, choice in enumerate(choices):
        told: list[int] = []
        for kind, holds in (("false alarm", False), ("miss", True)):
            wrong = [
                Failure(
                    choice.label,
                    kind,
                    clip.recording.event or "unknown",
                    f"{clip.recording.corpus}/{clip.recording.path.name}",
                    float(score[column]),
                )
                for clip, score, alarm in zip(clips, scores, alarms, strict=True)
                if clip.holds[column] is holds and alarm[column] is not holds
            ]
            wrong.sort(key=lambda failure: (failure.score if holds else -failure.score, failure.recording))
            worst += wrong[:SHOWN]
            told += [len(wrong), sum(clip.holds[column] is holds for clip in clips)]
        counts.append(Wrong(choice.label, *told))
    triggers, silent = _triggers([choice.label for choice in choices], clips, alarms)
    return Failures(tuple(counts), tuple(worst), triggers, silent)


def _triggers(
    labels: Sequence[str], clips: Sequence[LabelledClip], alarms: Sequence[Sequence[bool]]
) -> tuple[tuple[Trigger, ...], int]:
    events = sorted({clip.recording.event for clip in clips} - {*labels, ""})
    found = []
    for event in events:
        rows = [alarm for clip, alarm in zip(clips, alarms, strict=True) if clip.recording.event == event]
        found.append(Trigger(event, len(rows), tuple(sum(column) for column in zip(*rows, strict=True))))
    loud = sorted((one for one in found if any(one.alarms)), key=lambda one: (-sum(one.alarms), one.event))
    return tuple(loud), len(found) - len(loud)
