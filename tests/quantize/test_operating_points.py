"""Operating points on score tracks made by hand, and the scenes that some of them come from."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from align.corpora import Recording
from distill.scenes import active_level_db
from edge.bundle import OperatingPoint
from edge.errors import UserError
from edge.events import segment
from edge.matching import EventCounts, count_events
from quantize import operating_points
from quantize.operating_points import GRID, ON, EventTrack, choose_for_clips, choose_for_events
from quantize.pieces import PooledTracks
from quantize.scenes import SCENE_S, Composer, bout

FRAME_S = 0.01


def _track(*bumps: tuple[float, float], onsets_s: tuple[float, ...] = (), duration_s: float = 6.0) -> EventTrack:
    """Scores with a bump 0.3 s long of a given height at each time."""
    scores: NDArray[np.float32] = np.full(round(duration_s / FRAME_S), 0.02, dtype=np.float32)
    for start_s, height in bumps:
        start = round(start_s / FRAME_S)
        scores[start : start + 30] = np.maximum(scores[start : start + 30], height * np.hanning(32)[1:-1])
    return EventTrack(scores, onsets_s, duration_s)


class _Plain:
    """What `PooledTracks` does, the slow and obvious way: the device's segmentation, track by track."""

    def __init__(self, tracks: Any, onsets_s: Any, frame_s: float, least_on: float) -> None:
        self._tracks, self._frame_s = list(zip(tracks, onsets_s, strict=True)), frame_s
        assert least_on == ON[0]

    @classmethod
    def of(cls, tracks: list[EventTrack]) -> _Plain:
        return cls([track.scores for track in tracks], [track.onsets_s for track in tracks], FRAME_S, ON[0])

    def count(self, point: OperatingPoint) -> EventCounts:
        total = EventCounts()
        for scores, onsets_s in self._tracks:
            detected_s = [onset * self._frame_s for onset, _, _ in segment(scores, point, self._frame_s)]
            total += count_events(onsets_s, detected_s)
        return total


def _walk(rng: np.random.Generator, frames: int) -> NDArray[np.float32]:
    """Scores that wander as a net's do: smooth, at times flat, at times high for long."""
    levels = np.repeat(rng.uniform(-0.6, 1.2, frames // 4 + 1), 4)[:frames]
    smooth = np.convolve(levels, np.ones(7) / 7, mode="same")
    return np.clip(np.round(smooth, int(rng.integers(1, 4))), 0.0, 1.0).astype(np.float32)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    on=st.sampled_from(ON),
    fields=st.fixed_dictionaries({name: st.sampled_from(GRID[name]) for name in GRID if name != "on"}),
)
def test_pooled_tracks_count_what_the_devices_segmentation_finds(
    seed: int, on: float, fields: dict[str, float]
) -> None:
    rng = np.random.default_rng(seed)
    tracks = [_walk(rng, int(rng.integers(1, 400))) for _ in range(3)]
    onsets_s = [tuple(rng.uniform(0.0, len(track) * FRAME_S, int(rng.integers(4)))) for track in tracks]
    off = round(on * fields.pop("off_share"), 3)
    point = OperatingPoint(on=on, off=off, **fields)
    expected = _Plain(tracks, onsets_s, FRAME_S, ON[0]).count(point)
    assert PooledTracks(tracks, onsets_s, FRAME_S, ON[0]).count(point) == expected


@pytest.mark.parametrize("split_depth", [0.0, 0.3])
def test_pooled_tracks_cut_an_endless_region_as_the_device_does(split_depth: float) -> None:
    scores: NDArray[np.float32] = np.full(7_000, 0.8, dtype=np.float32)
    scores[50:6_900:500] = 0.5
    point = OperatingPoint(
        on=0.6, off=0.4, minimum_duration_s=0.04, merge_gap_s=0.04, refractory_s=0.16, split_depth=split_depth
    )
    arguments = ([scores, scores[:100]], [(1.0, 31.0), ()], FRAME_S, ON[0])
    counts = PooledTracks(*arguments).count(point)
    assert counts == _Plain(*arguments).count(point)
    assert counts.detected > 3


def test_search_chooses_what_the_slow_search_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    tracks = [EventTrack(_walk(rng, 600), tuple(rng.uniform(0.0, 6.0, 3)), 6.0) for _ in range(4)]
    fast = choose_for_events("cough", tracks[:2], tracks[2:], FRAME_S)
    monkeypatch.setattr(operating_points, "PooledTracks", _Plain)
    assert choose_for_events("cough", tracks[:2], tracks[2:], FRAME_S) == fast


def _noisy_hour(height: float) -> EventTrack:
    """An hour without an event in which eight sounds resemble one."""
    return _track(*((2.0 * place, height) for place in range(1, 9)), duration_s=3600.0)


def test_threshold_lies_between_events_and_what_resembles_them() -> None:
    coughs = [_track((1.0, 0.95), (3.0, 0.9), onsets_s=(1.0, 3.0)) for _ in range(3)]
    others = [_track((1.0, 0.45), (2.0, 0.4), (4.0, 0.5)) for _ in range(3)]
    choice = choose_for_events("cough", coughs, others, FRAME_S)
    assert 0.5 < choice.point.on < 0.9
    assert choice.value == 1.0
    assert _Plain.of([*coughs, *others]).count(choice.point).fp == 0


def test_threshold_is_no_lone_best_value() -> None:
    events = [_track((1.0, 0.95), onsets_s=(1.0,))]
    choice = choose_for_events("cough", events, [], FRAME_S)
    at = ON.index(choice.point.on)
    f1 = [row[3] for row in choice.curve]
    assert f1[at - 1] == f1[at] == f1[at + 1] == 1.0


def test_events_that_run_together_are_split() -> None:
    bouts = []
    for _ in range(2):
        track = _track((1.0, 0.9), (1.5, 0.9), (2.0, 0.9), onsets_s=(1.0, 1.5, 2.0))
        bouts.append(EventTrack(np.maximum(track.scores, 0.0), track.onsets_s, 6.0))
        bouts[-1].scores[100:230] = np.maximum(bouts[-1].scores[100:230], 0.3)
    choice = choose_for_events("cough", bouts, [], FRAME_S)
    assert choice.value == 1.0


def test_curve_shows_what_a_lower_threshold_costs() -> None:
    recordings = [_track((1.0, 0.95), (3.0, 0.5), onsets_s=(1.0,))]
    choice = choose_for_events("cough", recordings, [_track((1.0, 0.5), duration_s=3600.0)], FRAME_S)
    low, high = choice.curve[0], next(row for row in choice.curve if row[0] == choice.point.on)
    assert choice.columns == ("on", "sensitivity", "PPV", "F1", "false positives / h of scenes")
    assert low[4] == pytest.approx(1.0, abs=0.01)
    assert high[4] == 0.0
    assert low[1] == high[1] == 1.0


def test_quiet_in_scenes_comes_before_f1() -> None:
    recordings = [_track((1.0, height), onsets_s=(1.0,)) for height in [0.9] * 30 + [0.6] * 10]
    choice = choose_for_events("cough", recordings, [_noisy_hour(0.7)], FRAME_S)
    rows = {row[0]: row for row in choice.curve}
    assert rows[choice.point.on][4] <= 4.0
    assert rows[choice.point.on][3] < rows[0.5][3]


def test_silence_is_not_preferred_for_being_quiet() -> None:
    recordings = [_track((1.0, 0.6), onsets_s=(1.0,)) for _ in range(40)]
    choice = choose_for_events("cough", recordings, [_noisy_hour(0.7)], FRAME_S)
    rows = {row[0]: row for row in choice.curve}
    assert rows[choice.point.on][1] == 1.0
    assert rows[choice.point.on][4] > 4.0


def test_point_that_is_kept_is_measured_and_stays_as_it_is() -> None:
    kept = OperatingPoint(
        on=0.3, off=0.21, minimum_duration_s=0.12, merge_gap_s=0.08, refractory_s=0.24, split_depth=0.15
    )
    recordings = [_track((1.0, 0.9), (3.0, 0.5), onsets_s=(1.0,))]
    choice = choose_for_events("cough", recordings, [], FRAME_S, kept=kept)
    assert (choice.point, choice.value) == (kept, pytest.approx(2 / 3))
    peaks = np.array([0.9, 0.8, 0.4, 0.1], dtype=np.float32)
    of_clips = choose_for_clips("breath", peaks, np.array([True, True, False, False]), kept=kept)
    assert (of_clips.point, of_clips.value) == (kept, 0.75)


def test_clip_that_reaches_the_threshold_counts_as_heard() -> None:
    choice = choose_for_clips("breath", np.array([0.5, 0.5], dtype=np.float32), np.array([True, False]))
    assert next(row for row in choice.curve if row[0] == 0.5) == (0.5, 1.0, 0.0, 0.5)


def test_clip_threshold_is_the_middle_of_the_best() -> None:
    peaks = np.array([0.9, 0.8, 0.3, 0.1], dtype=np.float32)
    choice = choose_for_clips("breath", peaks, np.array([True, True, False, False]))
    assert choice.value == 1.0
    assert choice.point.on == pytest.approx(0.55, abs=0.051)
    assert choice.point.off < choice.point.on


def test_clips_of_one_kind_only_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="with and without breath"):
        choose_for_clips("breath", np.array([0.9, 0.8], dtype=np.float32), np.array([True, True]))


def _clips() -> list[tuple[Recording, NDArray[np.float32]]]:
    """A cough that is a burst of ones at 0.5 s, a dog's tone, and quiet ambience."""
    burst = np.zeros(16_000, dtype=np.float32)
    burst[8_000:12_000] = 1.0
    hiss = np.random.default_rng(0).standard_normal(40_000).astype(np.float32)
    tone = np.sin(np.arange(8_000, dtype=np.float32))
    cough = Recording(Path("a.flac"), "own", "a", "validation", "airborne", "cough", times_s=((0.5, 0.75),))
    rain = Recording(Path("b.flac"), "own", "b", "validation", "airborne", "rain")
    dog = Recording(Path("c.flac"), "own", "c", "validation", "airborne", "dog")
    return [(cough, burst), (rain, hiss), (dog, tone)]


def test_scene_has_its_events_at_the_marked_onsets() -> None:
    scene = Composer(_clips(), "cough", 16_000).scene(np.random.default_rng(1))
    assert len(scene.samples) == SCENE_S * 16_000
    assert scene.onsets_s
    for onset_s in scene.onsets_s:
        onset = round(onset_s * 16_000)
        after, before = scene.samples[onset : onset + 800].mean(), scene.samples[onset - 800 : onset - 1].mean()
        assert after - before > 0.012


def test_sounds_of_a_scene_stand_apart_and_are_known_by_their_time() -> None:
    scene = Composer(_clips(), "cough", 16_000).scene(np.random.default_rng(1))
    kinds = {placed.sound.kind for placed in scene.placed}
    assert kinds == {"cough", "dog"}
    for placed, following in pairwise(scene.placed):
        assert placed.stop_s < following.start_s
        assert scene.cause(placed.start_s - 0.1) == scene.cause(placed.stop_s + 0.1) == placed.sound.kind
        for onset_s, _ in placed.sound.marks_s:
            assert scene.cause(placed.start_s + onset_s + 0.01) == placed.sound.kind + ", within a mark"
    assert scene.cause(0.0) == "ambience"


def test_scene_has_as_many_sounds_an_hour_as_a_noisy_home_and_no_cough_that_nobody_marked() -> None:
    recording = Recording(Path("d.flac"), "own", "d", "validation", "airborne", "cough")
    quiet = [(row, 0.1 * samples) for row, samples in _clips()]
    composer = Composer([*quiet, (recording, np.ones(16_000, dtype=np.float32))], "cough", 16_000)
    scenes = [composer.scene(np.random.default_rng(seed)) for seed in range(2)]
    placed = [item.sound.kind for scene in scenes for item in scene.placed]
    assert sum(len(item.sound.marks_s) == 0 for scene in scenes for item in scene.placed) == placed.count("dog")
    for scene in scenes:
        for item in scene.placed:
            heard = scene.samples[round(item.start_s * 16_000) : round(item.stop_s * 16_000)]
            assert -33.0 < active_level_db(heard, 16_000) < -17.0
        before = scene.samples[: round(scene.placed[0].start_s * 16_000)]
        assert active_level_db(before, 16_000) == pytest.approx(-45.0, abs=1.5)
    # 30 and 60 an hour, in twenty minutes.
    assert 4 <= placed.count("cough") <= 20
    assert 10 <= placed.count("dog") <= 35


def test_bout_is_cut_half_way_to_the_coughs_beside_it() -> None:
    marks = ((1.0, 1.2), (1.3, 1.5), (1.6, 1.8), (4.0, 4.2))
    recording = Recording(Path("a.flac"), "own", "a", "validation", "airborne", "cough", times_s=marks)
    begins, ends = (0.9, 1.25, 1.55, 3.9), (1.25, 1.55, 2.1, 4.35)
    for seed in range(30):
        first_s, last_s, chosen = bout(recording, 4.5, np.random.default_rng(seed))
        assert first_s == pytest.approx(begins[marks.index(chosen[0])])
        assert last_s == pytest.approx(ends[marks.index(chosen[-1])])


def test_scenes_are_the_same_twice() -> None:
    first, again = (Composer(_clips(), "cough", 16_000).scene(np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(first.samples, again.samples)


def test_composer_without_marked_recordings_is_refused() -> None:
    with pytest.raises(ValueError, match="no recording has marked times of cough"):
        Composer(_clips()[1:], "cough", 16_000)
