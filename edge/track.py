"""One score track from overlapping windows: a weighted mean per frame. Pure; does no inference and finds no events."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.windows import Window

# A window knows little of what lies across its edge: its weight rises over the first fifth and falls over the last.
RAMP_FRACTION = 0.2
# A frame is final once a window has ended so much after it: 0.3 s of 2 s, where its weight has begun to fall. To wait
# for every window that covers it would tell a sound a second later, and found no more coughs in validation recordings.
LOOKAHEAD_FRACTION = 0.15


@dataclass(frozen=True)
class TrackChunk:
    """Finished frames: scores (frames, labels) float32, the first at absolute frame `start_frame` (a Python int)."""

    start_frame: int
    scores: NDArray[np.float32]


class ScoreTrack:
    """Fuses windows into one track with one frame per front-end hop.

    Each step's score is held over its frames and averaged, with the weight above, over the windows that cover a frame
    up to the first that ends the lookahead after it. Then, or where no later window can cover it, the frame is handed
    out. Sums run in window order, so the result depends on the windows alone, not on how the audio arrived. Memory: one
    window of frames.
    """

    def __init__(
        self, *, frame_samples: int, window_samples: int, hop_samples: int, step_samples: int, labels: int
    ) -> None:
        """`labels` is their number. Raises ValueError when window, hop or step is no multiple of a frame."""
        for name, samples in (("window", window_samples), ("hop", hop_samples), ("step", step_samples)):
            if samples <= 0 or samples % frame_samples:
                raise ValueError(f"{name} of {samples} samples is not a multiple of a frame of {frame_samples}")
        if hop_samples > window_samples:
            raise ValueError(f"hop of {hop_samples} samples is longer than the window of {window_samples}")
        self._frame_samples = frame_samples
        self._window_samples = window_samples
        self._hop_frames = hop_samples // frame_samples
        frames = window_samples // frame_samples
        self._step_of_frame = np.arange(frames) // (step_samples // frame_samples)
        centre = np.arange(frames) + 0.5
        ramp = RAMP_FRACTION * frames
        # Small at the edges, never zero: at the very start and end of a stream nothing else covers a frame.
        self._weight = np.minimum(1.0, np.minimum(centre, frames - centre) / ramp)[:, None]
        self._sums = np.zeros((frames, labels))
        self._weights = np.zeros((frames, 1))
        self._lookahead_frames = round(LOOKAHEAD_FRACTION * frames)
        self._next_start: int | None = None  # absolute frame at which the next window starts
        self._next_frame: int | None = None  # absolute index of row 0, the first frame that is not final

    def set_hop(self, hop_samples: int) -> None:
        """The next window is followed by another one so many samples later: a multiple of a frame, at most a window."""
        if hop_samples % self._frame_samples or not 0 < hop_samples <= self._window_samples:
            raise ValueError(f"hop of {hop_samples} samples is no multiple of a frame up to the window")
        self._hop_frames = hop_samples // self._frame_samples

    def add(self, window: Window, scores: NDArray[np.float32]) -> TrackChunk:
        """Add a window's scores (steps, labels); return the frames that are now final.

        Windows come in order, one hop apart, starting at a multiple of the frame. After a padded one comes `flush`.
        """
        start, rest = divmod(window.start, self._frame_samples)
        if rest or self._next_start not in (None, start):
            raise ValueError(f"window starts at sample {window.start}, expected frame {self._next_start}")
        self._next_frame = start if self._next_frame is None else self._next_frame
        self._next_start = start + self._hop_frames
        # A window that is no multiple of a step ends with frames that no step covers: the last step holds there too.
        held = scores[np.minimum(self._step_of_frame, len(scores) - 1)]
        final = self._next_frame - start
        open_frames = len(held) - final
        self._sums[:open_frames] += (self._weight * held)[final:]
        self._weights[:open_frames] += self._weight[final:]
        reached = max(self._hop_frames, len(held) - self._lookahead_frames)
        return self._take(max(0, min(reached, -(-window.valid // self._frame_samples)) - final))

    def flush(self, end_sample: int) -> TrackChunk:
        """The stream ended before absolute sample `end_sample`: return its remaining frames (possibly none)."""
        if self._next_frame is None:
            return TrackChunk(-(-end_sample // self._frame_samples), np.empty((0, self._sums.shape[1]), np.float32))
        return self._take(max(0, -(-end_sample // self._frame_samples) - self._next_frame))

    def _take(self, frames: int) -> TrackChunk:
        assert self._next_frame is not None  # noqa: S101 - set by `add`, which both callers have seen
        chunk = TrackChunk(self._next_frame, (self._sums[:frames] / self._weights[:frames]).astype(np.float32))
        for array in (self._sums, self._weights):
            array[: len(array) - frames] = array[frames:]
            array[len(array) - frames :] = 0.0
        self._next_frame += frames
        return chunk
