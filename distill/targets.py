"""What is known about each moment of a recording: present, absent, or unknown, for every label.

Hand-marked times give certain targets. A clip label only says that the sound is somewhere in the clip, so there the
loud moments count as present, the quiet ones as absent, and those between as unknown, which no loss looks at.
Targets have one row each front-end hop (10 ms).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from align.corpora import Recording

PRESENT, ABSENT, UNKNOWN = 1, 0, -1
Targets = NDArray[np.int8]

VALLEY_S = 0.12
"""Coughs of a bout often follow each other without a pause; the last moments of each are taught as absent, so that the
score falls between them and they can be counted. Three steps of the student."""

EXPLOSIVE_S = 0.24
"""How long a marked cough is surely one: its explosive phase and the beginning of what follows. Where the rest ends is
what people who mark coughs agree on least, so nothing is taught of it."""

SHORTEST_COUGH_S = 0.12
"""What stays of a cough however close the next one is."""

# Sounds in which a label may hide though the corpus does not say so: nothing is taught there.
MAY_HOLD: dict[str, tuple[str, ...]] = {
    "non_cough": ("breath", "speech"),
    "sneezing": ("breath",),
    "snoring": ("breath",),
    "drinking_sipping": ("breath",),
    "laughing": ("breath", "speech"),
    "crying_baby": ("breath", "speech"),
    "clapping": ("speech",),
    "vowel": ("speech",),
}

LOUD_DB, QUIET_DB = 15.0, 35.0
"""Below the clip's loudest moment by less than the first: present. By more than the second: absent."""

BREATH_SHARE = 0.4
"""A breath recording is breath half of the time; its louder 40 % of moments are surely so."""

PAUSE_DB = 12.0
"""What is quieter than those by more than this is the pause between two breaths."""

FLOOR_SHARE = 0.15
"""The quietest moments of a recording are what its room and telephone sound like, not somebody breathing there."""


def holds(recording: Recording, label: str) -> bool | None:
    """Whether a clip holds a label, as far as its corpus says; None where it may without being called so."""
    if recording.event == label:
        return True
    return None if not recording.event or label in MAY_HOLD.get(recording.event, ()) else False


def annotate(recording: Recording, samples: NDArray[np.float32], sample_rate_hz: int, labels: Sequence[str]) -> Targets:
    """Targets of a whole recording, shape (ceil(samples / 10 ms), labels), values PRESENT, ABSENT or UNKNOWN."""
    hop = sample_rate_hz // 100
    level = _level_db(samples, hop)
    if not recording.event:
        return np.full((len(level), len(labels)), UNKNOWN, dtype=np.int8)
    targets = np.zeros((len(level), len(labels)), dtype=np.int8)
    for column, label in enumerate(labels):
        if label == recording.event:
            targets[:, column] = _marked(recording, len(level)) if recording.times_s else _weak(label, level)
        elif label in MAY_HOLD.get(recording.event, ()):
            targets[:, column] = UNKNOWN
        elif recording.event in labels or recording.event == "vowel":
            targets[:, column] = _beside(recording, label, level)
    return targets


def to_steps(targets: Targets, frames_per_step: int) -> Targets:
    """Join frames to the student's steps by majority, unknown where neither present nor absent has one.

    Args:
        targets: (frames, labels), frames a multiple of `frames_per_step`.
    """
    groups = targets.reshape(-1, frames_per_step, targets.shape[1])
    present = (groups == PRESENT).sum(axis=1) * 2 >= frames_per_step
    absent = (groups == ABSENT).sum(axis=1) * 2 > frames_per_step
    return np.where(present, PRESENT, np.where(absent, ABSENT, UNKNOWN)).astype(np.int8)


def _marked(recording: Recording, frames: int) -> Targets:
    """Certain targets from hand-marked times: the beginning of each event, and a valley before the next onset."""
    column = np.zeros(frames, dtype=np.int8)
    onsets = [onset for onset, _ in recording.times_s]
    for (onset, offset), following in zip(recording.times_s, [*onsets[1:], np.inf], strict=True):
        end = max(onset + SHORTEST_COUGH_S, min(offset, following - VALLEY_S))
        column[round(onset * 100) : round(end * 100)] = UNKNOWN
        column[round(onset * 100) : round(min(end, onset + EXPLOSIVE_S) * 100)] = PRESENT
    return column


def _weak(label: str, level: NDArray[np.float64]) -> Targets:
    """Targets from a clip label and the level, in dB, of each moment."""
    column = np.full(len(level), UNKNOWN, dtype=np.int8)
    if label == "breath":
        loud = np.quantile(level, 1.0 - BREATH_SHARE)
        column[level >= loud] = PRESENT
        column[level < loud - PAUSE_DB] = ABSENT
        return column
    peak = level.max()
    column[level >= peak - LOUD_DB] = PRESENT
    column[level <= peak - QUIET_DB] = ABSENT
    return column


def _beside(recording: Recording, label: str, level: NDArray[np.float64]) -> Targets:
    """Targets of a label in a recording of another one: absent where that other is heard, else as far as is known."""
    column = np.zeros(len(level), dtype=np.int8)
    if label == "cough" or recording.event == "breath":
        return column
    # People breathe in before a cough and say a word between two.
    marked = bool(recording.times_s)
    heard = _marked(recording, len(level)) != ABSENT if marked else _weak(recording.event, level) == PRESENT
    column[~heard & (level > np.quantile(level, FLOOR_SHARE))] = UNKNOWN
    return column


def _level_db(samples: NDArray[np.float32], hop: int) -> NDArray[np.float64]:
    """Level of each hop, smoothed over 50 ms so that a glottal pause does not count as silence."""
    frames = -(-len(samples) // hop)
    padded = np.zeros(frames * hop)
    padded[: len(samples)] = samples
    power = np.mean(np.square(padded.reshape(frames, hop)), axis=1)
    return np.asarray(10.0 * np.log10(np.convolve(power, np.ones(5) / 5.0, mode="same") + 1e-12))
