"""Events in time of a view: what `distill.targets` knows of each moment of a recording, for the piece that is heard.

All that is done to a view keeps its timing, so the targets of a view are a piece of those of its recording, taken from
where the view begins. A view that comes round to the recording's beginning takes its targets round with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from align.clips import FULL_SCALE, Clips
from distill.student import FRAMES_PER_STEP
from distill.targets import PRESENT, UNKNOWN, Targets, annotate, to_steps
from edge.manifest import FrontEnd

TARGETS_PER_S = 100


class Moments:
    """Targets of the steps of views."""

    def __init__(self, clips: Clips, events: Sequence[str], front_end: FrontEnd, length: int) -> None:
        """`length` of a view in samples; the step a whole number of 10 ms if there are events."""
        self.events, self.hop, self.length = tuple(events), front_end.sample_rate_hz // TARGETS_PER_S, length
        frames = 1 + (length - front_end.frame_samples) // front_end.hop_samples
        self.steps = -(-frames // FRAMES_PER_STEP)
        self.per_step = FRAMES_PER_STEP * front_end.hop_samples // max(1, self.hop)
        self.targets: list[Targets] = []
        if self.events:
            self.targets = [
                annotate(
                    row,
                    clips.samples(index).astype(np.float32) / np.float32(FULL_SCALE),
                    front_end.sample_rate_hz,
                    self.events,
                )
                for index, row in enumerate(clips.rows)
            ]

    def of_view(self, recording: int, start: int) -> Targets:
        """(steps, events) of the view that begins at sample `start` of a recording."""
        if not self.events:
            return np.zeros((self.steps, 0), dtype=np.int8)
        whole = self.targets[recording]
        heard = (round(start / self.hop) + np.arange(self.steps * self.per_step)) % len(whole)
        return to_steps(whole[heard], self.per_step)


def of_windows(targets: Tensor) -> Tensor:
    """Targets of whole windows (batch, events) of those of steps: present if any is, unknown if that cannot be told."""
    present = (targets == PRESENT).any(dim=1)
    unknown = (targets == UNKNOWN).any(dim=1)
    return present.to(targets.dtype) * PRESENT + (~present & unknown).to(targets.dtype) * UNKNOWN
