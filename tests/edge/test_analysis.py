"""The whole way from samples to events: right sounds at the right times, and the same ones however they arrive."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import cycle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edge.analysis import Analyzer
from edge.errors import ConfigError

COUGHS, BREATHS = [0.6, 1.4, 3.75], [2.2]


def analyse(bundle, backend, samples, rate, sizes=(4096,), **options):
    samples = samples[:, None] if samples.ndim == 1 else samples
    analyzer = Analyzer(bundle, backend, input_rate_hz=rate, channels=samples.shape[1], **options)
    events, at, size = [], 0, cycle(sizes)
    while at < len(samples):
        count = next(size)
        events += analyzer.push(samples[at : at + count])
        at += count
    return events + analyzer.flush()


@pytest.fixture(scope="module")
def whole(tiny_bundle, tiny_backend, sounds):
    """The scene at a rate, and what one single push finds in it."""

    @cache
    def at_rate(rate):
        samples = sounds(rate, 3.9, COUGHS, BREATHS)
        return samples, analyse(tiny_bundle, tiny_backend, samples, rate, [len(samples)])

    return at_rate


@pytest.mark.parametrize("rate", [48_000, 44_100, 16_000, 8_000, 96_000])
def test_events_of_a_scene_are_where_its_sounds_are(whole, rate):
    _, events = whole(rate)
    for label, expected in (("cough", COUGHS), ("breath", BREATHS)):
        found = [event for event in events if event.label == label]
        assert [event.onset / 16_000 for event in found] == pytest.approx(expected, abs=0.06)
        ends = [min(second + 0.3, 3.9) for second in expected]
        assert [event.offset / 16_000 for event in found] == pytest.approx(ends, abs=0.06)
        assert all(0.6 <= event.score <= 1 for event in found)


@settings(max_examples=20, deadline=None)
@given(
    rate=st.sampled_from([48_000, 44_100, 8_000, 16_000]),
    sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=8),
)
@example(rate=8_000, sizes=[1])
@example(rate=44_100, sizes=[4999, 1])
def test_events_in_any_chunking_are_identical(whole, tiny_bundle, tiny_backend, rate, sizes):
    samples, events = whole(rate)
    assert analyse(tiny_bundle, tiny_backend, samples, rate, sizes) == events


def test_scores_in_any_chunking_are_identical_bit_for_bit(tiny_bundle, tiny_backend, sounds):
    samples = sounds(44_100, 3.3, [1.0])[:, None]
    tracks = []
    for size in (len(samples), 441, 1237):
        chunks = []
        analyzer = Analyzer(tiny_bundle, tiny_backend, input_rate_hz=44_100, channels=1)
        analyzer.on_scores = chunks.append
        for at in range(0, len(samples), size):
            analyzer.push(samples[at : at + size])
        analyzer.flush()
        assert analyzer.position == 52_800
        assert analyzer.windows_done == 4
        tracks.append(np.concatenate([chunk.scores for chunk in chunks]))
    assert tracks[0].shape == (330, 2)
    assert tracks[0].tobytes() == tracks[1].tobytes() == tracks[2].tobytes()


@pytest.mark.parametrize("hop_s", [0.1, 0.25, 1.0, 2.0])
def test_events_at_another_hop_are_the_same_sounds(tiny_bundle, tiny_backend, sounds, hop_s):
    samples = sounds(16_000, 5.0, [0.9, 3.0])
    events = analyse(tiny_bundle, tiny_backend, samples, 16_000, hop_s=hop_s)
    assert [event.onset / 16_000 for event in events] == pytest.approx([0.9, 3.0], abs=0.06)


def test_sound_shorter_than_a_window_is_analysed(tiny_bundle, tiny_backend, sounds):
    (event,) = analyse(tiny_bundle, tiny_backend, sounds(16_000, 0.5, [0.1]), 16_000)
    assert event.label == "cough"
    assert event.onset / 16_000 == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("frames", [1, 100, 399, 401])
def test_sound_of_a_few_samples_gives_no_event_and_no_error(tiny_bundle, tiny_backend, frames):
    assert analyse(tiny_bundle, tiny_backend, np.zeros(frames, np.float32), 48_000) == []


def test_no_sound_at_all_gives_no_event(tiny_bundle, tiny_backend):
    analyzer = Analyzer(tiny_bundle, tiny_backend, input_rate_hz=48_000, channels=2)
    assert analyzer.push(np.empty((0, 2), np.float32)) == []
    assert analyzer.flush() == []
    assert (analyzer.position, analyzer.windows_done) == (0, 0)


@pytest.mark.parametrize("duration_s", [2.0, 2.01, 2.3, 2.5, 3.1])
def test_sound_at_the_very_end_is_not_lost(tiny_bundle, tiny_backend, sounds, duration_s):
    samples = sounds(16_000, duration_s, [duration_s - 0.2])
    (event,) = analyse(tiny_bundle, tiny_backend, samples, 16_000)
    assert event.onset / 16_000 == pytest.approx(duration_s - 0.2, abs=0.06)
    assert event.offset <= len(samples)


def test_event_is_given_before_the_stream_ends(tiny_bundle, tiny_backend, sounds):
    analyzer = Analyzer(tiny_bundle, tiny_backend, input_rate_hz=16_000, channels=1)
    events = analyzer.push(sounds(16_000, 4.0, [0.5])[:, None])
    assert [event.label for event in events] == ["cough"]
    assert analyzer.flush() == []


def test_sound_in_one_of_eight_channels_is_heard(tiny_bundle, tiny_backend, sounds):
    samples = np.zeros((3 * 96_000, 8), np.float32)
    samples[:, 5] = 4 * sounds(96_000, 3.0, [1.0])
    assert [event.label for event in analyse(tiny_bundle, tiny_backend, samples, 96_000)] == ["cough"]


def test_threshold_above_the_score_silences_a_label_alone(tiny_bundle, tiny_backend, sounds):
    samples = sounds(16_000, 3.0, [0.5], [1.5])
    plain = analyse(tiny_bundle, tiny_backend, samples, 16_000)
    assert [event.label for event in plain] == ["cough", "breath"]
    strict = analyse(tiny_bundle, tiny_backend, samples, 16_000, thresholds={"cough": 1.0})
    assert [event.label for event in strict] == ["breath"]


def test_threshold_below_the_bundles_finds_longer_events(tiny_bundle, tiny_backend, sounds):
    samples = sounds(16_000, 3.0, [1.0])
    (plain,) = analyse(tiny_bundle, tiny_backend, samples, 16_000)
    (low,) = analyse(tiny_bundle, tiny_backend, samples, 16_000, thresholds={"cough": 0.01})
    assert low.onset <= plain.onset
    assert low.offset - low.onset > plain.offset - plain.onset


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"window_s": 1.0}, "window_s is 1.0"),
        ({"hop_s": 0.125}, "hop_s is 0.125"),
        ({"hop_s": 2.5}, "at most 2.0 s"),
        ({"hop_s": 0.0}, "hop_s is 0.0"),
        ({"thresholds": {"sneeze": 0.5}}, "no such label, only cough, breath"),
        ({"thresholds": {"cough": 1.5}}, "thresholds.cough is 1.5"),
        ({"thresholds": {"cough": float("nan")}}, "thresholds.cough is nan"),
    ],
)
def test_setting_that_the_bundle_cannot_run_with_is_refused(tiny_bundle, tiny_backend, options, words):
    with pytest.raises(ConfigError) as caught:
        Analyzer(tiny_bundle, tiny_backend, input_rate_hz=16_000, channels=1, **options)
    assert words in str(caught.value)


def test_label_counts_for_what_the_labels_that_mask_it_leave(tiny_bundle, tiny_backend, sounds):
    def tracks(bundle):
        chunks = []
        analyzer = Analyzer(bundle, tiny_backend, input_rate_hz=16_000, channels=1)
        analyzer.on_scores = chunks.append
        analyzer.push(sounds(16_000, 3.9, COUGHS, BREATHS)[:, None])
        analyzer.flush()
        return np.concatenate([chunk.scores for chunk in chunks])

    cough, breath = tiny_bundle.manifest.labels
    masked = breath.model_copy(update={"masked_by": ("cough",)})
    manifest = tiny_bundle.manifest.model_copy(update={"labels": (cough, masked)})
    plain, shown = tracks(tiny_bundle), tracks(replace(tiny_bundle, manifest=manifest))
    assert np.array_equal(shown[:, 0], plain[:, 0])
    assert shown[:, 1] == pytest.approx(plain[:, 1] * (1 - plain[:, 0]))
    assert (shown[:, 1] < plain[:, 1]).any()
