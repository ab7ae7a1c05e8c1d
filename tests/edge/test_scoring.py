import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from edge.errors import UserError
from edge.intervals import poisson_interval, wilson_interval
from edge.marks import Recording
from edge.matching import EventCounts, bootstrap, bootstrap_f1, count_events, count_pairs, match_onsets
from edge.scoring import count_error, score, score_files

# Onsets in hundredths, so that ties and differences of exactly the tolerance come up all the time.
onsets = st.lists(st.integers(0, 300).map(lambda n: n / 100), max_size=25)


@given(onsets, onsets)
def test_match_is_one_to_one_within_tolerance_and_maximum(reference: list[float], detected: list[float]) -> None:
    pairs = match_onsets(reference, detected, 0.30)
    assert len({r for r, _ in pairs}) == len({d for _, d in pairs}) == len(pairs)
    near = np.abs(np.subtract.outer(reference, detected)) <= 0.30 + 1e-6
    assert all(near[pair] for pair in pairs)
    largest = 0
    if reference and detected:
        largest = int((maximum_bipartite_matching(csr_array(near.astype(int)), perm_type="column") >= 0).sum())
    assert len(pairs) == largest == count_pairs(sorted(reference), sorted(detected), 0.30)


@given(onsets, onsets, st.randoms())
def test_match_count_does_not_depend_on_the_order_of_events(reference, detected, random) -> None:
    expected = count_events(reference, detected)
    random.shuffle(reference)
    random.shuffle(detected)
    assert count_events(reference, detected) == expected


@pytest.mark.parametrize(
    ("reference", "detected", "expected"),
    [
        pytest.param([], [], EventCounts(0, 0, 0), id="nothing"),
        pytest.param([1.0, 2.0], [], EventCounts(0, 0, 2), id="deaf"),
        pytest.param([], [1.0, 2.0], EventCounts(0, 2, 0), id="cough-free"),
        pytest.param([1.0, 1.5, 2.0], [1.0], EventCounts(1, 0, 2), id="one detection over three coughs"),
        pytest.param([1.0], [0.9, 1.1], EventCounts(1, 1, 0), id="two detections of one cough"),
        pytest.param([1.0], [1.3], EventCounts(1, 0, 0), id="exactly at the tolerance"),
        pytest.param([1.0], [1.301], EventCounts(0, 1, 1), id="just past the tolerance"),
        pytest.param([1.0], [0.7], EventCounts(1, 0, 0), id="early as well as late"),
        # Nearest first pairs 1.0 with 1.2 and leaves 1.4 and 0.8 without a partner.
        pytest.param([1.0, 1.4], [0.8, 1.2], EventCounts(2, 0, 0), id="nearest first fails"),
        pytest.param([0.0, 0.25, 0.5], [0.25, 0.5, 0.75], EventCounts(3, 0, 0), id="equidistant chain"),
        pytest.param([1.4, 1.0], [1.2, 0.8], EventCounts(2, 0, 0), id="out of order"),
        pytest.param([1.0, 5.0, 9.0], [1.1, 3.0, 9.2, 9.25], EventCounts(2, 2, 1), id="a bit of all"),
    ],
)
def test_count_events(reference: list[float], detected: list[float], expected: EventCounts) -> None:
    assert count_events(reference, detected) == expected


def test_count_events_with_a_tighter_tolerance() -> None:
    assert count_events([1.0, 2.0], [1.2, 2.1], tolerance_s=0.15) == EventCounts(1, 1, 1)


def test_event_counts_measures() -> None:
    counts = EventCounts(6, 2, 0) + EventCounts(0, 0, 2)
    assert (counts.sensitivity, counts.ppv, counts.f1) == (0.75, 0.75, 0.75)
    assert (counts.reference, counts.detected) == (8, 8)


def test_event_counts_measures_are_undefined_without_events() -> None:
    quiet = EventCounts(0, 2, 0)
    assert math.isnan(quiet.sensitivity)
    assert quiet.ppv == quiet.f1 == 0.0
    assert math.isnan(EventCounts().f1)


def test_bootstrap_covers_the_pooled_measure() -> None:
    rng = np.random.default_rng(0)
    counts = [EventCounts(*map(int, rng.poisson((5, 1, 1)))) for _ in range(40)]
    total = sum(counts, EventCounts())
    for measure in ("sensitivity", "ppv", "f1"):
        interval = bootstrap(counts, measure)
        assert interval is not None
        assert interval.low < total.measure(measure) < interval.high
    assert bootstrap_f1(counts) == bootstrap(counts, "f1")


def test_bootstrap_is_wider_when_errors_cluster_in_few_recordings() -> None:
    spread = [EventCounts(4, 1, 0)] * 20
    clustered = [EventCounts(4, 10, 0)] * 2 + [EventCounts(4, 0, 0)] * 18
    even, uneven = bootstrap(spread, "ppv"), bootstrap(clustered, "ppv")
    assert even is not None
    assert uneven is not None
    assert uneven.high - uneven.low > even.high - even.low


def test_bootstrap_of_nothing_is_none() -> None:
    assert bootstrap_f1([]) is None
    assert bootstrap_f1([EventCounts(1, 0, 0)]) is None
    assert bootstrap([EventCounts(0, 1, 0)] * 5, "sensitivity") is None


def test_count_error_is_by_the_hour_of_one_long_recording() -> None:
    night = Recording("night.wav", (10.0, 20.0, 3700.0), (15.0, 3601.0, 3700.0, 7000.0, 7200.0), 7200.0)
    error = count_error([night])
    assert error is not None
    assert (error.mae_per_hour, error.bias_per_hour) == (2.0, 1.0)  # 1 against 2, then 4 against 1
    assert (error.bins, error.bin_hours) == (2, 1.0)


def test_count_error_lays_short_recordings_end_to_end() -> None:
    clips = [Recording(f"{i}.wav", (1.0,), (1.0, 5.0) if i < 360 else (), 10.0) for i in range(720)]
    error = count_error(clips)
    assert error is not None
    assert (error.mae_per_hour, error.bias_per_hour, error.bins) == (360.0, 0.0, 2)


def test_count_error_of_a_short_recording_is_scaled_to_an_hour() -> None:
    error = count_error([Recording("a.wav", (1.0, 2.0), (1.0,), 900.0)])
    assert error is not None
    assert (error.mae_per_hour, error.bias_per_hour, error.bins, error.bin_hours) == (4.0, -4.0, 1, 0.25)


def test_count_error_is_by_stretches_as_near_to_an_hour_as_can_be() -> None:
    error = count_error([Recording("a.wav", recording_s=6000.0)])
    assert error is not None
    assert (error.bins, error.bin_hours) == (2, pytest.approx(5 / 6))


def test_count_error_is_none_when_a_length_is_unknown() -> None:
    assert count_error([Recording("a.wav", recording_s=60.0), Recording("b.wav")]) is None


def test_score_separates_false_positives_by_whether_the_recording_holds_events() -> None:
    report = score([Recording("a", (1.0,), (1.0, 3.0)), Recording("b", (), (2.0, 4.0)), Recording("c")])
    assert report.counts == EventCounts(1, 3, 0)
    assert (report.fp_with_events, report.fp_without_events) == (1, 2)
    assert (report.recordings, report.recordings_with_events) == (3, 1)


def test_score_takes_hours_from_lengths_unless_they_are_given() -> None:
    recordings = [Recording("a", (1.0,), (5.0,), 3600.0), Recording("b", (), (2.0,), 5400.0)]
    assert score(recordings).fp_per_hour == 2 / 2.5
    given_hours = score(recordings, hours=2.0)
    assert given_hours.fp_per_hour == 1.0
    assert given_hours.fp_per_hour_interval is not None
    assert given_hours.fp_per_hour_interval.high == pytest.approx(poisson_interval(2).high / 2.0)
    assert given_hours.fp_per_hour_upper is None


def test_score_tells_nothing_an_hour_where_a_length_is_unknown() -> None:
    report = score([Recording("a", (), (5.0,), 3600.0), Recording("b", (), (2.0,))])
    assert (report.hours, report.fp_per_hour) == (None, None)


def test_score_without_false_positives_has_a_one_sided_bound() -> None:
    report = score([Recording("a", (1.0,), (1.0,), 36000.0)])
    assert report.fp_per_hour == 0.0
    assert report.fp_per_hour_upper == pytest.approx(0.2996, abs=1e-4)
    assert "one-sided below 0.30" in report.text()


def test_score_of_one_recording_uses_wilson_intervals() -> None:
    report = score([Recording("a", (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 9.0))])
    assert report.intervals["sensitivity"] == report.intervals["ppv"] == wilson_interval(3, 4)
    assert report.intervals["f1"].low < report.counts.f1 < report.intervals["f1"].high
    assert "Wilson" in report.text()


def test_score_without_a_mistake_is_not_certain_of_it() -> None:
    report = score([Recording(str(i), (1.0, 2.0), (1.0, 2.0)) for i in range(10)])
    assert report.counts.sensitivity == 1.0
    assert report.intervals["sensitivity"] == wilson_interval(20, 20)
    assert report.intervals["f1"].low < 0.95


def test_score_that_found_nothing_right_is_not_certain_of_it() -> None:
    report = score([Recording(str(i), (1.0, 2.0), (5.0,)) for i in range(10)])
    assert report.intervals["sensitivity"] == wilson_interval(0, 20)
    assert report.intervals["ppv"] == wilson_interval(0, 10)


def test_interval_of_f1_without_a_draw_is_that_of_the_share_of_all_events_that_were_hit() -> None:
    report = score([Recording("a", (1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 9.0))])
    share = wilson_interval(3, 5)
    assert report.intervals["f1"].low == pytest.approx(2 * share.low / (1 + share.low))
    assert report.intervals["f1"].high == pytest.approx(2 * share.high / (1 + share.high))


@pytest.mark.parametrize(
    "options", [{"tolerance_s": 0.0}, {"tolerance_s": math.inf}, {"tolerance_s": math.nan}, {"hours": -1.0}]
)
def test_score_refuses_a_tolerance_or_hours_that_are_not_above_0(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match="give a number above 0"):
        score([Recording("a")], **options)


def test_report_to_dict_is_json_without_nan() -> None:
    report = score([Recording("a", (), (1.0,)), Recording("b")])
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert values["counts"] == {"tp": 0, "fp": 1, "fn": 0}
    assert values["sensitivity"] is None
    assert values["ppv"] == 0.0
    assert values["fp_per_hour"] is None
    assert values["hours"] is None


def test_report_text_says_what_is_undefined_or_unknown() -> None:
    text = score([Recording("a"), Recording("b")]).text()
    assert "nothing marked" in text
    assert "nothing detected" in text
    assert "recording_s" in text


def test_score_files_prints_the_figures_of_a_hand_made_case(tmp_path: Path) -> None:
    """Ten recordings of six minutes, one cough each found, one missed in the first, one false alarm in the last."""
    reference, events = tmp_path / "ref.tsv", tmp_path / "events.jsonl"
    rows = ["file\tonset\toffset\tlabel\trecording_s", *(f"{i}.wav\t1\t1.4\tcough\t360" for i in range(10))]
    reference.write_text("\n".join([*rows, "0.wav\t3\t3.4\tcough\t"]) + "\n", encoding="utf-8")
    heard = [(f"{i}.wav", 1.1) for i in range(10)] + [("9.wav", 200.0)]
    lines = [
        json.dumps({"file": f, "label": "cough", "onset_s": s, "offset_s": s + 0.3, "score": 0.9}) for f, s in heard
    ]
    events.write_text("\n".join(lines), encoding="utf-8")
    report = score_files(reference, events)
    assert report.counts == EventCounts(10, 1, 1)
    assert report.fp_per_hour == pytest.approx(1.0)
    text = report.text()
    assert "11 marked, 11 detected" in text
    assert "0.909 (" in text
    assert "1.00 (0.03 to 5.57, exact Poisson)" in text
    assert "MAE 0.00, bias +0.00, over 1 x 1.00 h" in text


def test_score_files_scores_another_label(tmp_path: Path) -> None:
    reference, events = tmp_path / "ref.tsv", tmp_path / "events.jsonl"
    reference.write_text("file\tonset\toffset\tlabel\na\t1\t2\tcough\na\t5\t7\tbreath\n", encoding="utf-8")
    events.write_text('{"file": "a", "label": "breath", "onset_s": 5.4}\n', encoding="utf-8")
    assert score_files(reference, events, label="breath").counts == EventCounts(0, 1, 1)
    assert score_files(reference, events, label="breath", tolerance_s=0.5).counts == EventCounts(1, 0, 0)
