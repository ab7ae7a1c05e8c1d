"""Scores become events by the rule in the module's header, alike for any chunking."""

from __future__ import annotations

from itertools import cycle, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.bundle import Label, OperatingPoint
from edge.events import Event, EventDetector, segment
from edge.track import TrackChunk

FRAME_S = 0.01


def point(**changes: float) -> OperatingPoint:
    values = {"on": 0.6, "off": 0.3, "minimum_duration_s": 0, "merge_gap_s": 0, "refractory_s": 0, "split_depth": 0}
    return OperatingPoint(**(values | changes))


def spans(scores, rule: OperatingPoint) -> list[tuple[int, int]]:
    return [span[:2] for span in segment(scores, rule, FRAME_S)]


def streamed(scores, rule: OperatingPoint, sizes) -> list[tuple[int, int, float]]:
    """The same through a detector, in frames."""
    detector = EventDetector([Label(name="cough", operating_point=rule)], 160, 16_000)
    events, at, size = [], 0, cycle(sizes)
    while at < len(scores):
        count = next(size)
        events += detector.push(TrackChunk(at, np.asarray(scores[at : at + count], np.float32)[:, None]))
        at += count
    events += detector.flush()
    return [(event.onset // 160, event.offset // 160, event.score) for event in events]


def test_segment_of_silence_is_empty():
    assert segment(np.zeros(100), point(), FRAME_S) == []
    assert segment(np.zeros(0), point(), FRAME_S) == []


def test_segment_below_on_gives_no_event_however_long():
    assert segment(np.full(1000, 0.59), point(), FRAME_S) == []


def test_segment_reaches_back_and_on_to_off():
    scores = [0.1, 0.3, 0.4, 0.7, 0.9, 0.5, 0.3, 0.29, 0.3]
    assert segment(scores, point(), FRAME_S) == [(1, 7, 0.9)]


def test_segment_open_at_both_ends_keeps_all():
    assert spans([0.7, 0.8, 0.7], point()) == [(0, 3)]


def test_segment_merges_a_gap_up_to_the_merge_gap():
    scores = [0, 0.7, 0, 0, 0.4, 0, 0, 0, 0.7]
    assert spans(scores, point(merge_gap_s=0.02)) == [(1, 5), (8, 9)]
    assert spans(scores, point(merge_gap_s=0.03)) == [(1, 9)]
    assert spans(scores, point()) == [(1, 2), (8, 9)]


def test_segment_does_not_reach_back_over_a_gap():
    assert spans([0.4, 0.2, 0.4, 0.7], point(merge_gap_s=0.05)) == [(2, 4)]


def test_segment_drops_what_is_shorter_than_the_minimum():
    scores = [0, 0.7, 0.7, 0, 0.7, 0.7, 0.7, 0]
    assert spans(scores, point(minimum_duration_s=0.03)) == [(4, 7)]


def test_segment_onset_in_refractory_time_extends_the_event_before():
    scores = [0, 0.7, 0, 0, 0.9, 0, 0, 0, 0.8, 0]
    assert segment(scores, point(refractory_s=0.05), FRAME_S) == [(1, 5, 0.9), (8, 9, 0.8)]


def test_segment_refractory_time_counts_from_the_kept_onset():
    scores = np.zeros(40)
    scores[[1, 4, 7, 10]] = 0.7
    assert spans(scores, point(refractory_s=0.07)) == [(1, 8), (10, 11)]


def test_segment_splits_at_a_deep_valley():
    # Valley 0.4 < (1 - 0.5) * 0.9; half-way from 0.4 to 1.0 is 0.7.
    scores = [0, 0.9, 0.6, 0.4, 0.5, 0.65, 0.7, 1.0, 0.5, 0]
    assert segment(scores, point(split_depth=0.5), FRAME_S) == [(1, 3, 0.9), (6, 9, 1.0)]
    assert segment(scores, point(split_depth=0.6), FRAME_S) == [(1, 9, 1.0)]
    assert segment(scores, point(split_depth=0), FRAME_S) == [(1, 9, 1.0)]


def test_segment_split_inside_a_merged_gap_ends_at_the_last_frame_above_off():
    scores = [0.9, 0.5, 0.1, 0.05, 0.2, 0.9]
    assert spans(scores, point(split_depth=0.3, merge_gap_s=0.05)) == [(0, 2), (5, 6)]
    assert spans(scores, point(split_depth=0, merge_gap_s=0.05)) == [(0, 6)]


def test_segment_of_coughs_in_one_breath_counts_each():
    pulse = [0.4, 0.7, 0.95, 0.7, 0.4]
    assert len(spans([0.0, *pulse * 4, 0.0], point(split_depth=0.4))) == 4


def test_segment_that_never_ends_is_cut_every_thirty_seconds():
    assert spans(np.full(7000, 0.8), point()) == [(0, 3000), (3000, 6000), (6000, 7000)]


def test_segment_reaches_back_at_most_thirty_seconds():
    assert spans(np.append(np.full(5000, 0.4), 0.9), point()) == [(2000, 5001)]


# A few levels at and around the thresholds make ties, plateaus and near misses common. 0.7 is below itself in float32.
LEVELS = st.sampled_from([0.0, 0.1, 0.29, 0.3, 0.31, 0.45, 0.6, 0.61, 0.7, 0.9, 1.0])
RULES = st.builds(
    point,
    on=st.sampled_from([0.6, 0.7]),
    off=st.sampled_from([0.3, 0.6]),
    minimum_duration_s=st.sampled_from([0, 0.02, 0.05]),
    merge_gap_s=st.sampled_from([0, 0.01, 0.03]),
    refractory_s=st.sampled_from([0, 0.04, 0.1]),
    split_depth=st.sampled_from([0, 0.1, 0.5, 1.0]),
)
SIZES = st.lists(st.integers(1, 50), min_size=1, max_size=5)


@settings(max_examples=400, deadline=None)
@given(scores=st.lists(LEVELS, max_size=120), rule=RULES, sizes=SIZES)
def test_detector_in_any_chunking_gives_what_segment_gives(scores, rule, sizes):
    track = np.array(scores, np.float32)
    assert streamed(track, rule, sizes) == segment(track, rule, FRAME_S)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rule=RULES, sizes=st.lists(st.integers(1, 2000), min_size=1, max_size=5))
def test_detector_with_regions_over_the_limit_gives_what_segment_gives(seed, rule, sizes):
    random = np.random.default_rng(seed)
    # Long stretches between off and on or above, so that both limits of thirty seconds are met.
    levels = random.choice([0.1, 0.45, 0.65, 0.9], size=12)
    track = np.repeat(levels, random.integers(1, 4000, size=12)).astype(np.float32)
    track += random.choice([0.0, 0.0, 0.05], size=len(track)).astype(np.float32)
    assert streamed(track, rule, sizes) == segment(track, rule, FRAME_S)


@settings(max_examples=200, deadline=None)
@given(scores=st.lists(LEVELS, max_size=200), rule=RULES)
def test_segment_keeps_its_promises(scores, rule):
    found = segment(scores, rule, FRAME_S)
    for onset, offset, peak in found:
        assert 0 <= onset < offset <= len(scores)
        assert offset - onset >= round(rule.minimum_duration_s / FRAME_S)
        assert peak == max(scores[onset:offset]) >= rule.on
        assert scores[onset] >= rule.off
        assert scores[offset - 1] >= rule.off
    for before, after in pairwise(found):
        assert before[1] <= after[0]
        assert after[0] - before[0] >= round(rule.refractory_s / FRAME_S)


def test_detector_far_into_a_stream_keeps_exact_positions():
    start = 2**33
    detector = EventDetector([Label(name="cough", operating_point=point())], 160, 16_000)
    found = detector.push(TrackChunk(start, np.array([[0], [0.75], [0]], np.float32)))
    assert found == [Event("cough", (start + 1) * 160, (start + 2) * 160, 0.75)]


def test_detector_gives_an_event_as_soon_as_nothing_can_change_it():
    detector = EventDetector([Label(name="cough", operating_point=point(refractory_s=0.2))], 160, 16_000)
    assert detector.push(TrackChunk(0, np.array([[0], [0.75], [0]], np.float32))) == []
    assert detector.push(TrackChunk(3, np.zeros((17, 1), np.float32))) == []
    assert detector.push(TrackChunk(20, np.zeros((1, 1), np.float32))) == [Event("cough", 160, 320, 0.75)]


def test_detector_keeps_labels_apart_and_sorts_by_onset():
    labels = [Label(name="cough", operating_point=point()), Label(name="breath", operating_point=point(on=0.9))]
    detector = EventDetector(labels, 160, 16_000)
    scores = np.array([[0, 1], [0.8, 0], [0, 0.8], [0, 0]], np.float32)
    assert detector.push(TrackChunk(0, scores)) == [
        Event("breath", 0, 160, 1.0),
        Event("cough", 160, 320, scores[1, 0]),
    ]


def test_detector_with_a_missing_chunk_refuses():
    detector = EventDetector([Label(name="cough", operating_point=point())], 160, 16_000)
    detector.push(TrackChunk(0, np.zeros((5, 1), np.float32)))
    with pytest.raises(ValueError, match="expected 5"):
        detector.push(TrackChunk(6, np.zeros((5, 1), np.float32)))


@settings(max_examples=150, deadline=None)
@given(scores=st.lists(LEVELS, max_size=200), rule=RULES, sizes=SIZES)
def test_no_event_begins_before_what_was_told_as_settled(scores, rule, sizes):
    detector = EventDetector([Label(name="cough", operating_point=rule)], 160, 16_000)
    assert detector.settled is None
    at, size, settled = 0, cycle(sizes), 0
    while at < len(scores):
        part = np.array(scores[at : at + next(size)], np.float32)[:, None]
        assert all(event.onset >= settled for event in detector.push(TrackChunk(at, part)))
        at += len(part)
        assert settled <= detector.settled <= 160 * at
        settled = detector.settled
    assert all(event.onset >= settled for event in detector.flush())


@settings(max_examples=200, deadline=None)
# The second piece of a split region, whose peak the new `off` exceeds.
@example([0.9, 0.3, 0.65], [0.0, 0.0], point(split_depth=0.5), point(on=0.95, off=0.9))
@given(before=st.lists(LEVELS, max_size=60), after=st.lists(LEVELS, max_size=60), old=RULES, new=RULES)
def test_rule_that_changes_on_the_way_ends_what_is_open_and_gives_events_that_hold_sound(before, after, old, new):
    detector = EventDetector([Label(name="cough", operating_point=old)], 160, 16_000)
    found = detector.push(TrackChunk(0, np.array(before, np.float32)[:, None]))
    detector.change([Label(name="cough", operating_point=new)])
    found += detector.push(TrackChunk(len(before), np.array(after, np.float32)[:, None]))
    found += detector.flush()
    track = np.array([*before, *after], np.float32)
    for event in found:
        assert 0 <= event.onset < event.offset <= 160 * len(track)
        assert min(old.on, new.on) <= event.score <= track[event.onset // 160 : event.offset // 160].max()


def test_settled_follows_the_track_in_silence_and_waits_for_what_is_open():
    detector = EventDetector([Label(name="cough", operating_point=point(merge_gap_s=0.0))], 160, 16_000)
    detector.push(TrackChunk(0, np.zeros((100, 1), np.float32)))
    assert detector.settled == 16_000
    detector.push(TrackChunk(100, np.ones((50, 1), np.float32)))
    assert detector.settled == 16_000
    detector.push(TrackChunk(150, np.zeros((50, 1), np.float32)))
    assert detector.settled == 32_000


def test_settled_goes_on_under_scores_that_stay_below_on_for_ever():
    """Else no minute of a room in which something hums would be reported."""
    detector = EventDetector([Label(name="cough", operating_point=point(on=0.6, off=0.3))], 160, 16_000)
    for start in range(0, 10_000, 100):
        detector.push(TrackChunk(start, np.full((100, 1), 0.5, np.float32)))
    assert detector.settled == (10_000 - 3_000) * 160
