"""Overlapping windows' scores become one track: weighted by distance from the edge, final when handed out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.track import LOOKAHEAD_FRACTION, RAMP_FRACTION, ScoreTrack
from edge.windows import Window

# Ten frames of 4 samples a window, steps of two frames, hops of three.
SIZES = {"frame_samples": 4, "window_samples": 40, "hop_samples": 12, "step_samples": 8}


def fuse(track: ScoreTrack, windows, end):
    chunks = [track.add(window, scores) for window, scores in windows] + [track.flush(end)]
    starts = [chunk.start_frame for chunk in chunks]
    lengths = [len(chunk.scores) for chunk in chunks]
    assert starts == [starts[0] + sum(lengths[:i]) for i in range(len(chunks))]
    return starts[0], np.concatenate([chunk.scores for chunk in chunks])


def window(start, valid=40):
    return Window(start, valid, np.zeros(40, np.float32))


def slow(all_scores, frames, hop):
    """The definition, frame by frame in plain Python."""
    track = []
    for frame in range(frames):
        total = weight_sum = 0.0
        for k, scores in enumerate(all_scores):
            inside = frame - k * hop
            final = k > 0 and inside + hop < 10 - round(LOOKAHEAD_FRACTION * 10)
            if 0 <= inside < 10 and not final:
                centre = inside + 0.5
                weight = min(1.0, min(centre, 10 - centre) / (RAMP_FRACTION * 10))
                total += weight * float(scores[min(inside // 2, len(scores) - 1), 0])
                weight_sum += weight
        track.append(total / weight_sum)
    return track


@settings(max_examples=50)
@given(count=st.integers(1, 6), tail=st.integers(0, 12), seed=st.integers(0, 99), steps=st.sampled_from([4, 5]))
def test_track_is_the_weighted_mean_over_the_windows_that_cover_a_frame_until_it_is_final(count, tail, seed, steps):
    random = np.random.default_rng(seed)
    all_scores = [random.random((steps, 1)).astype(np.float32) for _ in range(count + (tail > 0))]
    windows = [(window(12 * k), all_scores[k]) for k in range(count)]
    end = 12 * (count - 1) + 40 + tail
    if tail:
        windows.append((window(12 * count, end - 12 * count), all_scores[count]))
    start, track = fuse(ScoreTrack(**SIZES, labels=1), windows, end)
    assert start == 0
    assert track[:, 0] == pytest.approx(slow(all_scores, -(-end // 4), 3), abs=1e-6)


def test_track_of_one_window_holds_each_step_over_its_frames():
    scores = np.array([[0.1], [0.2], [0.3], [0.4], [0.5]], np.float32)
    _, track = fuse(ScoreTrack(**SIZES, labels=1), [(window(0), scores)], 40)
    assert track[:, 0] == pytest.approx(np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], 2))


@pytest.mark.parametrize(("end", "frames"), [(1, 1), (4, 1), (5, 2), (39, 10), (40, 10)])
def test_track_of_a_short_stream_ends_with_the_stream(end, frames):
    _, track = fuse(ScoreTrack(**SIZES, labels=2), [(window(0, end), np.ones((5, 2), np.float32))], end)
    assert track.shape == (frames, 2)
    assert track.dtype == np.float32


def test_track_without_windows_is_empty():
    assert ScoreTrack(**SIZES, labels=2).flush(0).scores.shape == (0, 2)


def test_track_hands_out_a_frame_once_a_window_ends_the_lookahead_after_it():
    track = ScoreTrack(**SIZES, labels=1)
    assert len(track.add(window(0), np.ones((5, 1), np.float32)).scores) == 8
    second = track.add(window(12), np.ones((5, 1), np.float32))
    assert (second.start_frame, len(second.scores)) == (8, 3)


def test_track_of_windows_that_do_not_overlap_hands_out_all_that_no_later_window_covers():
    track = ScoreTrack(**SIZES | {"hop_samples": 40}, labels=1)
    assert len(track.add(window(0), np.ones((5, 1), np.float32)).scores) == 10
    assert track.add(window(40), np.ones((5, 1), np.float32)).start_frame == 10


def test_track_far_into_a_stream_keeps_exact_positions():
    start = 2**33
    first, track = fuse(ScoreTrack(**SIZES, labels=1), [(window(start), np.ones((5, 1), np.float32))], start + 40)
    assert (first, len(track)) == (start // 4, 10)


def test_track_with_a_skipped_window_refuses():
    track = ScoreTrack(**SIZES, labels=1)
    track.add(window(0), np.ones((5, 1), np.float32))
    with pytest.raises(ValueError, match="sample 24"):
        track.add(window(24), np.ones((5, 1), np.float32))


@pytest.mark.parametrize("change", [{"hop_samples": 6}, {"window_samples": 42}, {"hop_samples": 44}])
def test_track_with_sizes_off_the_frame_grid_refuses(change):
    with pytest.raises(ValueError, match=r"frame|window"):
        ScoreTrack(**(SIZES | change), labels=1)
