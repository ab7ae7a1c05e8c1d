"""Clips: what stretch of sound one is, and that none is kept in which there is or may be speech."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.bundle import Bundle
from edge.clips import HELD_S, Clip, ClipRecorder, Verdict, require_speech_label
from edge.errors import ConfigError
from edge.events import Event
from edge.sections import ClipSettings
from edge.sources.base import Block

FRAME, RATE_HZ = 160, 16_000
QUIET = 0.05


def recorder(source_rate_hz: int = RATE_HZ) -> ClipRecorder:
    settings = ClipSettings(enabled=True, pre_roll_s=1.0, post_roll_s=0.5, speech_score=0.1)
    return ClipRecorder(settings, source_rate_hz=source_rate_hz, rate_hz=RATE_HZ, frame_samples=FRAME)


def block(start: int, end: int, channels: int = 1) -> Block:
    """Sound in which each sample tells its position, as far as 16 bits go."""
    values = (np.arange(start, end) % 30_000).astype(np.float32) / 32767
    return Block(start, np.repeat(values[:, None], channels, axis=1))


def span(clip: Clip) -> tuple[int, int]:
    """First position and the one past the last, for sound shorter than 30 000 samples after a multiple of that."""
    assert (np.diff(clip.samples.astype(int)) % 30_000 == 1).all()
    return int(clip.samples[0]), int(clip.samples[0]) + len(clip.samples)


def scores(frames: int, *speech: int) -> NDArray[np.float32]:
    values = np.full(frames, QUIET, np.float32)
    values[list(speech)] = 0.5
    return values


COUGH = Event("cough", onset=200 * FRAME, offset=230 * FRAME, score=0.9)


def judged(speech: NDArray[np.float32], event: Event = COUGH) -> tuple[Verdict, Clip | None]:
    heard = recorder()
    heard.add_block(block(0, 5 * RATE_HZ))
    heard.add_event("id", event)
    (result,) = heard.add_scores(0, speech) or heard.close()
    return result


@pytest.mark.parametrize("source_rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_clip_is_the_event_with_what_came_before_and_after(source_rate_hz: int, channels: int) -> None:
    heard = recorder(source_rate_hz)
    ends = range(0, 5 * source_rate_hz + 1, source_rate_hz // 7)
    for start, end in itertools.pairwise(ends):
        heard.add_block(block(start, end, channels))
    heard.add_event("id", COUGH)
    assert heard.add_scores(0, scores(279)) == []
    ((verdict, clip),) = heard.add_scores(279, scores(21))
    assert clip is not None
    assert (verdict, clip.event_id, clip.sample_rate_hz) == ("kept", "id", source_rate_hz)
    # From 1 s before 2.0 s to 0.5 s after 2.3 s.
    expected = np.arange(-(-source_rate_hz // 1), -(-28 * source_rate_hz // 10)) % 30_000
    assert np.abs(clip.samples - expected[: len(clip.samples)]).max() <= 1
    assert len(clip.samples) == len(expected)


@pytest.mark.parametrize("frame", [100, 150, 200, 215, 229, 230, 279])
def test_clip_with_speech_anywhere_in_it_is_withheld(frame: int) -> None:
    assert judged(scores(300, frame)) == ("speech", None)


@pytest.mark.parametrize("frame", [99, 280])
def test_speech_beside_the_clip_does_not_matter(frame: int) -> None:
    verdict, clip = judged(scores(300, frame))
    assert verdict == "kept"
    assert clip is not None
    assert span(clip) == (100 * FRAME, 280 * FRAME)


@pytest.mark.parametrize("known", [(100, 280), (99, 279), (101, 300)])
def test_clip_is_withheld_unless_every_frame_of_it_has_a_score(known: tuple[int, int]) -> None:
    heard = recorder()
    heard.add_block(block(0, 5 * RATE_HZ))
    heard.add_event("id", COUGH)
    results = heard.add_scores(known[0], scores(known[1] - known[0])) or heard.close()
    assert [verdict for verdict, _ in results] == ["kept" if known == (100, 280) else "unknown"]


def test_score_that_is_no_number_is_no_score() -> None:
    speech = scores(300)
    speech[150] = np.nan
    assert judged(speech) == ("unknown", None)


def test_clip_begins_with_the_sound_and_ends_with_it() -> None:
    heard = recorder()
    heard.add_block(block(0, 5 * RATE_HZ))
    heard.add_event("first", Event("cough", onset=20 * FRAME, offset=40 * FRAME, score=0.9))
    heard.add_event("last", Event("cough", onset=470 * FRAME, offset=490 * FRAME, score=0.9))
    results = [*heard.add_scores(0, scores(500)), *heard.close()]
    assert [verdict for verdict, _ in results] == ["kept", "kept"]
    spans = [span(clip) for _, clip in results if clip is not None]
    # A frame's width from the very edges: beside a gap, frames and sound differ by up to half of one.
    assert spans[0] == (FRAME, 90 * FRAME)
    assert (spans[1][0], spans[1][1] - spans[1][0]) == (370 * FRAME % 30_000, 129 * FRAME)


def test_clip_reaches_over_no_gap() -> None:
    heard = recorder()
    heard.add_block(block(0, 190 * FRAME))
    heard.add_scores(0, scores(190))
    heard.add_block(block(195 * FRAME, 400 * FRAME))
    heard.add_event("id", COUGH)
    ((verdict, clip),) = heard.add_scores(195, scores(200))
    assert verdict == "kept"
    assert clip is not None
    assert clip.samples[0] == 196 * FRAME % 30_000
    assert len(clip.samples) == (280 - 196) * FRAME


def test_event_whose_sound_is_not_held_any_more_has_no_clip() -> None:
    heard = recorder()
    heard.add_block(block(0, 5 * RATE_HZ))
    end = round((HELD_S + 10) * RATE_HZ)
    heard.add_block(block(5 * RATE_HZ, end))
    heard.add_event("id", COUGH)
    assert heard.add_scores(0, scores(end // FRAME)) == [("unknown", None)]


@settings(deadline=None)
@given(
    speech=st.sets(st.integers(0, 499), max_size=6),
    gaps=st.sets(st.integers(1, 498), max_size=3),
    events=st.lists(st.tuples(st.integers(0, 480), st.integers(1, 20)), min_size=1, max_size=4),
    source_rate_hz=st.sampled_from([8_000, 11_025, 16_000, 48_000]),
    chunk=st.integers(7, 60),
)
def test_no_kept_clip_overlaps_a_frame_with_speech_or_a_gap(
    speech: set[int], gaps: set[int], events: list[tuple[int, int]], source_rate_hz: int, chunk: int
) -> None:
    heard = recorder(source_rate_hz)
    per_s = source_rate_hz / 100
    values = scores(500, *speech)
    results: list[tuple[Verdict, Clip | None]] = []
    for start in range(0, 500, chunk):
        frames = [frame for frame in range(start, min(start + chunk, 500)) if frame not in gaps]
        for frame in frames:
            first, last = round(frame * per_s), round((frame + 1) * per_s)
            loud = 0.9 if frame in speech else 0.1
            heard.add_block(Block(first, np.full((last - first, 1), loud, np.float32)))
        for onset, length in events:
            if start <= onset < start + chunk:
                heard.add_event("id", Event("cough", onset * FRAME, (onset + length) * FRAME, 0.9))
        for frame in frames:
            results += heard.add_scores(frame, values[frame : frame + 1])
    results += heard.close()
    assert len(results) == len(events)
    for verdict, clip in results:
        assert (verdict == "kept") == (clip is not None)
        if clip is not None:
            # Where the source's rate holds no whole number of samples a frame, one sample may be the neighbour's.
            assert (clip.samples[1:-1] < 0.2 * 32767).all()


@pytest.mark.parametrize("is_covered", [False, True])
def test_bundle_whose_speech_other_sounds_cover_is_refused(tiny_bundle: Bundle, is_covered: bool) -> None:
    first, breath = tiny_bundle.manifest.labels
    speech = first.model_copy(update={"name": "speech", "masked_by": ("breath",) if is_covered else ()})
    manifest = tiny_bundle.manifest.model_copy(update={"labels": (breath, speech)})
    if is_covered:
        with pytest.raises(ConfigError, match="does not tell speech under breath"):
            require_speech_label(manifest)
    else:
        assert require_speech_label(manifest) == 1
