"""The teacher is asked once: its answers are kept, found again, and never taken for another's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from align.clips import Clips, crop
from align.corpora import Recording
from distill.course import loader
from distill.frontend import reference_log_mel
from distill.lessons import Lessons, Views, hear, learn
from distill.moments import Moments
from distill.teach_config import TeacherSettings, TeachSettings, ViewSettings
from distill.teacher import Teacher, open_teacher
from distill.teaching import LessonPlan
from edge.errors import UserError
from edge.manifest import FrontEnd

RATE = 4000
VIEWS = 3
FRONT_END = FrontEnd(sample_rate_hz=RATE, frame_samples=200, hop_samples=80, mel_bands=32, low_hz=25, high_hz=1000)


def make_views(
    cache: Path,
    count: int = VIEWS,
    recordings: int = 5,
    seed: int = 0,
    sound: int = 0,
    length: int = RATE,
    gain_db: float = 6.0,
) -> Views:
    rng = np.random.default_rng(sound)
    rows = [
        Recording(Path(f"{n}.wav"), "noise", f"p{n}", "train", "heart", "cough", ((0.5, 0.7),))
        for n in range(recordings)
    ]
    samples = [rng.integers(-9000, 9000, 2 * RATE).astype(np.int16) for _ in rows]
    clips = Clips(rows, [row.path.name for row in rows], samples, [])
    settings = ViewSettings.model_validate({"count": count, "cache": cache, "gain_db": gain_db})
    return Views(clips, settings, length=length, sample_rate_hz=RATE, seed=seed)


class Counting(Teacher):
    """A real teacher that counts what it is asked."""

    asked = 0

    def embed(self, views, sample_rate_hz):  # type: ignore[no-untyped-def]
        Counting.asked += len(views)
        return super().embed(views, sample_rate_hz)


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Teacher:
    return plain_teacher(0)


def plain_teacher(seed: int) -> Teacher:
    torch.manual_seed(seed)
    Counting.asked = 0
    opened = open_teacher(
        TeacherSettings.model_validate({"encoder": "scratch-conv", "sample_rate_hz": 2000, "clip_s": 0.5})
    )
    return Counting(opened.name, opened.encoder, opened.sha256, None)


def test_a_second_run_never_runs_the_teacher(tmp_path: Path, teacher: Teacher) -> None:
    first = learn(make_views(tmp_path), teacher)
    assert Counting.asked == VIEWS * 5
    again = learn(make_views(tmp_path), teacher)
    assert Counting.asked == VIEWS * 5
    assert all(np.array_equal(first[view], again[view]) for view in range(VIEWS))


def test_answers_are_mapped_and_those_of_the_very_view(tmp_path: Path, teacher: Teacher) -> None:
    views = make_views(tmp_path)
    lessons = learn(views, teacher)
    assert isinstance(lessons[1], np.memmap)
    assert lessons[1].dtype == np.float16
    asked = teacher.embed([views.view(2, 1)], RATE)[0]
    assert np.allclose(lessons[1][2], asked, atol=2e-3 * float(np.abs(asked).max()))


def test_a_stopped_run_goes_on_with_what_is_missing(tmp_path: Path, teacher: Teacher) -> None:
    whole = learn(make_views(tmp_path), teacher)
    expected = np.array(whole[2])
    next(tmp_path.glob("*/view-00002.npy")).unlink()
    Counting.asked = 0
    assert np.array_equal(learn(make_views(tmp_path), teacher)[2], expected)
    assert Counting.asked == 5


def test_more_views_add_to_those_that_are_there(tmp_path: Path, teacher: Teacher) -> None:
    learn(make_views(tmp_path), teacher)
    Counting.asked = 0
    assert learn(make_views(tmp_path, count=VIEWS + 1), teacher).views == VIEWS + 1
    assert Counting.asked == 5


@pytest.mark.parametrize("change", ["teacher", "recipe", "seed", "recordings", "sound", "length", "gain_db"])
def test_answers_to_another_question_are_not_taken(
    tmp_path: Path, teacher: Teacher, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(make_views(tmp_path), teacher)
    asked_of = plain_teacher(1) if change == "teacher" else teacher
    Counting.asked = 0
    if change == "recipe":
        monkeypatch.setattr("distill.lessons.RECIPE", 2)
    changed = {"seed": 1, "recordings": 6, "sound": 1, "length": RATE // 2, "gain_db": 3.0}
    views = make_views(tmp_path, **{name: value for name, value in changed.items() if name == change})  # type: ignore[arg-type]
    learn(views, asked_of)
    assert Counting.asked == len(views)


def test_a_damaged_file_is_named(tmp_path: Path, teacher: Teacher) -> None:
    learn(make_views(tmp_path), teacher)
    file = next(tmp_path.glob("*/view-00001.npy"))
    file.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"view-00001.npy: damaged; delete it"):
        learn(make_views(tmp_path), teacher)


def test_an_answer_that_is_no_number_is_told_and_not_kept(tmp_path: Path, teacher: Teacher) -> None:
    with torch.no_grad():
        next(teacher.encoder.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="a value of it is not finite; look at the teacher"):
        learn(make_views(tmp_path), teacher)
    assert not list(tmp_path.glob("*/*.npy"))


def test_a_cache_that_cannot_be_written_is_told(tmp_path: Path, teacher: Teacher) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"another --views\.cache"):
        learn(make_views(tmp_path / "file"), teacher)


def test_a_view_begins_where_its_targets_are_taken_from(tmp_path: Path) -> None:
    views = make_views(tmp_path)
    views.settings = views.settings.model_copy(update={"gain_db": 0.0, "noise_share": 0.0, "tilt_db": 0.0})
    for recording in range(5):
        begun = crop(views.clips.samples(recording), RATE, views.start(recording, 2))
        np.testing.assert_array_equal(views.view(recording, 2), begun)


def test_what_the_student_hears_is_kept_as_the_teacher_heard_it(tmp_path: Path) -> None:
    views = make_views(tmp_path)
    heard = hear(views, FRONT_END)
    assert isinstance(heard[0], np.memmap)
    expected = reference_log_mel(views.view(3, 2), FRONT_END)
    assert heard[2][3].shape == expected.shape
    assert np.abs(heard[2][3] - expected).max() < 0.02
    files = sorted(tmp_path.glob("*/*.npy"))
    written = [file.stat().st_mtime_ns for file in files]
    hear(views, FRONT_END)
    assert [file.stat().st_mtime_ns for file in files] == written
    hear(views, FRONT_END.model_copy(update={"low_hz": 50.0}))
    assert len(list(tmp_path.glob("*/*.npy"))) == 2 * len(files)


@pytest.fixture
def plan(tmp_path: Path, teacher: Teacher) -> LessonPlan:
    """Lessons of five recordings in batches of two; the answer is the recording's number."""
    views = make_views(tmp_path)
    answers = torch.arange(5, dtype=torch.float32).reshape(5, 1)
    moments = Moments(views.clips, ("cough",), FRONT_END, RATE)
    return LessonPlan(views, learn(views, teacher), hear(views, FRONT_END), answers, moments, batch_size=2, seed=0)


def test_a_lesson_is_what_the_teacher_says_of_the_very_view_that_the_student_hears(plan: LessonPlan) -> None:
    for number in range(40):
        lesson = plan[number]
        recording = int(lesson.answers[0])
        (view,) = [
            view
            for view in range(VIEWS)
            if np.array_equal(lesson.log_mel.numpy(), np.float32(plan.heard[view][recording]))
        ]
        assert np.array_equal(lesson.teacher.numpy(), np.float32(plan.lessons[view][recording]))
        heard = plan.moments.of_view(recording, plan.views.start(recording, view))
        assert np.array_equal(lesson.moments.numpy(), heard)


def test_an_epoch_has_full_batches_of_different_recordings_in_an_order_of_its_own(plan: LessonPlan) -> None:
    epochs = [[int(plan[number].answers[0]) for number in range(first, first + 4)] for first in range(0, 40, 4)]
    assert plan.per_epoch == 4
    assert all(len(set(epoch)) == 4 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 5
    assert [int(plan[number].answers[0]) for number in range(4)] == epochs[0]


def test_a_resumed_course_begins_with_the_lessons_of_its_epoch(plan: LessonPlan) -> None:
    settings = TeachSettings.model_construct(batch_size=2, workers=0)
    batch = next(iter(loader(plan, settings, epochs_before=2)))
    assert torch.equal(batch.log_mel, torch.stack([plan[8].log_mel, plan[9].log_mel]))


def test_mean_and_spread_are_over_all_views(tmp_path: Path, teacher: Teacher) -> None:
    lessons: Lessons = learn(make_views(tmp_path), teacher)
    everything = np.stack([lessons[view].astype(np.float64) for view in range(VIEWS)])
    mean, deviation = lessons.spread()
    assert np.allclose(lessons.mean(), everything.mean(axis=0), atol=1e-5)
    assert np.allclose(mean, everything.mean(axis=(0, 1)), atol=1e-5)
    assert np.allclose(deviation, everything.std(axis=(0, 1)), atol=1e-5)


def test_a_view_longer_than_the_teacher_hears_is_the_mean_of_its_pieces(teacher: Teacher) -> None:
    rng = np.random.default_rng(0)
    view = rng.standard_normal(RATE).astype(np.float32) * 0.1
    at_own_rate = 2000
    long = np.concatenate([view, view])[: 2 * at_own_rate]
    pieces = [long[start : start + 1000] for start in (0, 500, 1000, 1500, 2000, 2500, 3000)]
    expected = teacher.embed(pieces, at_own_rate).mean(axis=0)
    assert np.allclose(teacher.embed([long], at_own_rate)[0], expected, atol=1e-4)
