"""Questions about recordings and people: what is known, what a score track says, and how well it is told apart.

A recording's score is the mean of its fused track, and a person's the mean log-odds of their recordings, as in training
(`align.tasks`). Of a question about people, a recording is asked as well: where the table says whether the sound is in
it (the column with `_here`, as `murmur_here`), by that, else by the person's answer. It decodes; it runs no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.audio import load
from align.corpora import Recording, hold_out, read_table
from align.corpora.recording import Split
from align.statistics import Interval, auroc_difference, auroc_interval
from align.tasks import Examples, Task, examples
from edge.bundle import OperatingPoint
from quantize.errors import ExportError
from quantize.operating_points import ON, Choice, need_both
from quantize.parity import LabelAccuracy, Track
from quantize.recordings import LabelledClip
from quantize.taught import Taught

PEOPLE, RECORDINGS = "people", "recordings"
HERE = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False}
SPECIFICITY = 0.95
"""Of twenty recordings without the sound, one may rise above the threshold."""
SUSTAINED = 0.75
"""Of a window. The score of one loud window, fused with its calm neighbours, does not last so long."""


def read_question_splits(table: Path, taught: Taught) -> dict[Split, list[Recording]]:
    """The recordings of the corpora that the student was taught by, validation people held out as then.

    Raises:
        ExportError: a split has no people with one of the answers to a question.
        CorpusError: the table cannot be read.
    """
    rows = [row for row in read_table(table) if not taught.include_corpora or row.corpus in taught.include_corpora]
    rows = [row for row in rows if row.split == "test" or row.corpus not in taught.checkpoint.exclude_corpora]
    if not any(row.split == "validation" for row in rows):
        rows = hold_out(rows, taught.checkpoint.validation_share, taught.checkpoint.seed)
    splits: dict[Split, list[Recording]] = {
        name: [row for row in rows if row.split == name] for name in ("train", "validation", "test")
    }
    for name, split in splits.items():
        for question in taught.questions:
            answers = {question.answer(row) for row in split}
            for wanted, word in ((1.0, "yes"), (0.0, "no")):
                if wanted not in answers:
                    raise ExportError(f"{table}: no {name} recording answers {question.name} with {word}")
    return splits


def load_clips(rows: Sequence[Recording], taught: Taught) -> list[LabelledClip]:
    """Decode recordings, with what is known of each of them for every question."""
    rate = taught.checkpoint.front_end.sample_rate_hz
    clips = []
    for row in rows:
        samples = load(row.path, rate)
        holds = tuple(holds_here(question, row) for question in taught.questions)
        clips.append(LabelledClip(row, samples, len(samples) / rate, holds))
    return clips


def holds_here(question: Task, row: Recording) -> bool | None:
    """Whether the sound is in this very recording; None where the answer is not known."""
    answer = question.answer(row)
    here = HERE.get((row.metadata | row.labels).get(f"{question.column}_here", "").casefold())
    if np.isnan(answer):
        return None
    return bool(answer) if here is None or not answer else here


def log_odds(tracks: Sequence[Track], column: int) -> NDArray[np.float64]:
    """(recordings,) of the mean score of each."""
    mean = np.clip([track[:, column].mean(dtype=np.float64) for track in tracks], 1e-7, 1 - 1e-7)
    return np.asarray(np.log(mean / (1.0 - mean)))


def asked(
    question: Task, clips: Sequence[LabelledClip], column: int, scores: NDArray[np.float64]
) -> dict[str, Examples]:
    """Scores and answers of the people (where the question is about people), and of the recordings."""
    features = scores.astype(np.float32)[:, np.newaxis]
    known = [at for at, clip in enumerate(clips) if clip.holds[column] is not None]
    truth = np.array([bool(clips[at].holds[column]) for at in known])
    found = {RECORDINGS: Examples(features[known], truth, tuple(clips[at].recording.group for at in known))}
    if question.unit == "person":
        found[PEOPLE] = examples(question, [clip.recording for clip in clips], features)
    return found


def question_accuracy(
    questions: Sequence[Task],
    clips: Sequence[LabelledClip],
    tracks: Sequence[Track],
    reference: Sequence[Track],
    *,
    rounds: int,
) -> list[LabelAccuracy]:
    """AUROC of each question over people and over recordings, and the drop from the tracks of float32."""
    found = []
    for column, question in enumerate(questions):
        after = asked(question, clips, column, log_odds(tracks, column))
        before = asked(question, clips, column, log_odds(reference, column))
        found += [_told_apart(f"{question.name}, {unit}", after[unit], before[unit], rounds) for unit in sorted(after)]
    return found


def _told_apart(label: str, after: Examples, before: Examples, rounds: int) -> LabelAccuracy:
    truth, scores, old = after.answers, after.features[:, 0], before.features[:, 0]
    value = auroc_interval(truth, scores, after.groups, rounds=rounds)
    same = np.array_equal(scores, old)
    drop = Interval(0.0, 0.0, 0.0) if same else auroc_difference(truth, old, scores, after.groups, rounds=rounds)
    return LabelAccuracy(label, int(truth.sum()), int((~truth).sum()), value, drop)


def choose_sustained(label: str, scores: NDArray[np.float64], truth: NDArray[np.bool_], window_s: float) -> Choice:
    """The lowest `on` that leaves `SPECIFICITY` of the recordings without the sound below it; events are sustained.

    Args:
        label: for the record.
        scores: (recordings,) mean score of each, 0..1.
        truth: (recordings,) whether the sound is in it.
        window_s: of the bundle.

    Raises:
        ExportError: the sound is in all of them, or in none.
    """
    need_both(label, truth)
    sensitivity = np.array([(scores[truth] >= on).mean() for on in ON])
    specificity = np.array([(scores[~truth] < on).mean() for on in ON])
    quiet = np.flatnonzero(specificity >= SPECIFICITY)
    place = int(quiet[0]) if len(quiet) else len(ON) - 1
    on = ON[place]
    point = sustained(on, window_s)
    rows = zip(ON, sensitivity.tolist(), specificity.tolist(), strict=True)
    basis = f"{truth.sum()} recordings with it, {(~truth).sum()} without"
    criterion = f"sensitivity at a specificity of {SPECIFICITY:g} or more"
    columns = ("on", "sensitivity", "specificity")
    return Choice(label, point, criterion, basis, float(sensitivity[place]), columns, tuple(rows))


def sustained(on: float, window_s: float) -> OperatingPoint:
    """An event for a score that stays high over windows that agree, and one more each half minute that it goes on."""
    return OperatingPoint(
        on=on,
        off=round(0.7 * on, 3),
        minimum_duration_s=round(SUSTAINED * window_s, 2),
        merge_gap_s=round(window_s / 2, 2),
        refractory_s=0.0,
        split_depth=0.0,
    )
