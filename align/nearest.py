"""The reports nearest to a recording, and how often recordings find their own: what `align.retrieve` prints and draws.

Ranks and recall are `align.retrieval`, the sheet is `align.sheet`.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from align.aligned import AlignedError, learnt_from, load_task
from align.aligned_config import RetrieveSettings
from align.audio import load
from align.clips import FULL_SCALE, Clips, open_clips
from align.corpora import CorpusError, Recording
from align.embedding import embed_recordings
from align.files import relative
from align.module import AlignmentTask
from align.pairs import read_reports, reports_of
from align.preparation import to_pcm
from align.retrieval import CUTS, Recall, ranks, recall
from align.sheet import draw_sheet
from align.statistics import Interval, bootstrap
from align.teacher import embed_reports
from align.validation import compare

ON_SHEET = 3


@dataclass(frozen=True)
class Found:
    """Reports in falling order of their cosine to a recording."""

    reports: tuple[str, ...]
    scores: NDArray[np.float32]
    """(reports,)."""
    own: str | None
    """The recording's own report, where it has one among them."""

    @property
    def own_rank(self) -> int | None:
        """Place of its own report, 1 for the nearest."""
        return None if self.own is None else self.reports.index(self.own) + 1


@dataclass(frozen=True)
class Recalled:
    """How often the recordings of a test split find their own report."""

    recall: Recall
    at: dict[int, Interval]
    """Share of recordings, by how many of the nearest reports are looked at."""
    median_rank: Interval
    recordings: int
    people: int


def find(task: AlignmentTask, settings: RetrieveSettings, query: Clips) -> Found:
    """All different reports, nearest first, for the one recording in `query`.

    Raises:
        UserError: reports or teacher are missing or wrong.
    """
    reports = _read_some(settings.reports)
    different = tuple(dict.fromkeys(reports.values()))
    text = _embed(task, settings, different)
    audio = embed_recordings(task.encoder, query, task.device)
    similarity, _ = compare(task, audio, different, text)
    order = np.argsort(-similarity[0], kind="stable")
    own = own_report(query.rows[0].path, reports, settings.recordings)
    return Found(tuple(different[index] for index in order), similarity[0][order], own)


def recall_of_test(task: AlignmentTask, settings: RetrieveSettings, source: Path) -> Recalled:
    """Ask for the report of every recording of the test split among the reports of that split.

    Raises:
        UserError: recordings, reports or teacher are missing or wrong.
    """
    reports = _read_some(settings.reports)
    corpora = learnt_from(settings.aligned, task.hparams["data"]).corpora
    clips = open_clips(source, task.encoder.sample_rate_hz, corpora)
    for reason in clips.skipped:
        print(f"skipped: {reason}", file=sys.stderr)
    clips = clips.keep([index for index, row in enumerate(clips.rows) if row.split == "test"])
    if not len(clips):
        raise CorpusError(f"{source}: no recordings with split test")
    asked = reports_of(clips, reports, settings.reports)
    text = _embed(task, settings, asked)
    similarity, own = compare(task, embed_recordings(task.encoder, clips, task.device), asked, text)
    place, people = ranks(similarity, own), [row.group for row in clips.rows]
    at = {cut: bootstrap(lambda rows, cut=cut: float((place[rows] <= cut).mean()), people) for cut in CUTS}  # type: ignore[misc]
    median = bootstrap(lambda rows: float(np.median(place[rows])), people)
    return Recalled(recall(similarity, own), at, median, len(clips), len(set(people)))


def open_query(path: Path, sample_rate_hz: int) -> Clips:
    """One file as recordings are opened.

    Raises:
        AudioError: it is missing or not audio.
    """
    samples = to_pcm(load(path, sample_rate_hz))
    return Clips([Recording(path, "", "", "test", "", "")], [path.as_posix()], [samples], [])


def own_report(query: Path, reports: dict[str, str], recordings: Path | None) -> str | None:
    """The report that the table of reports has for a recording: by its path, or by its name if only one has it."""
    if recordings is not None:
        root = recordings if recordings.is_dir() else recordings.parent
        name = relative(query.resolve(), root.resolve())
        if name in reports:
            return reports[name]
    if query.as_posix() in reports:
        return reports[query.as_posix()]
    same = [report for name, report in reports.items() if Path(name).name == query.name]
    return same[0] if len(same) == 1 else None


def reports_table(found: Found, top: int) -> str:
    """Lines of the nearest reports."""
    lines = ["rank  cosine  report"]
    for number, (report, score) in enumerate(zip(found.reports[:top], found.scores[:top], strict=True), start=1):
        lines.append(f"{number:4}  {score:6.3f}  {' '.join(report.split())}")
    if found.own_rank is not None:
        lines.append(f"its own report has rank {found.own_rank} of {len(found.reports)}")
    return "\n".join(lines)


def recall_table(found: Recalled) -> str:
    """Lines of recall beside chance."""
    reports = found.recall.reports
    lines = [f"{found.recordings} test recordings of {found.people} people, {reports} different reports"]
    lines.append(f"{'':12}  {'value [95 % interval]':24}  chance")
    lines += [f"recall at {cut:<2}  {found.at[cut]!s:24}  {found.recall.chance[cut]:.3f}" for cut in CUTS]
    lines.append(f"{'median rank':12}  {_ranked(found.median_rank):24}  {(reports + 1) / 2:.1f}")
    return "\n".join(lines)


def draw(found: Found, query: Clips, sample_rate_hz: int, image: Path) -> None:
    """Write the sheet.

    Raises:
        UserError: it cannot be written.
    """
    own = [] if found.own is None else [(f"Its own report (rank {found.own_rank} of {len(found.reports)})", found.own)]
    nearest = [
        (f"Nearest report {number}: cosine {score:.3f}", report)
        for number, (report, score) in enumerate(
            zip(found.reports[:ON_SHEET], found.scores[:ON_SHEET], strict=True), start=1
        )
    ]
    samples = query.samples(0).astype(np.float32) / np.float32(FULL_SCALE)
    draw_sheet(image, samples, sample_rate_hz, query.rows[0].path.name, own + nearest)


def _read_some(path: Path) -> dict[str, str]:
    reports = read_reports(path)
    if not reports:
        raise CorpusError(f"{path}: holds no reports; write them with python -m align.report")
    return reports


def _embed(task: AlignmentTask, settings: RetrieveSettings, reports: tuple[str, ...]) -> NDArray[np.float32]:
    teacher = learnt_from(settings.aligned, task.hparams["data"]).teacher
    text = embed_reports(reports, teacher, settings.teacher_cache)
    if text.shape[1] != task.hparams["text_size"]:
        raise AlignedError(
            f"{settings.aligned}: trained with embeddings of {task.hparams['text_size']} numbers, but {teacher.model} "
            f"now gives {text.shape[1]}; put back the teacher of the training"
        )
    return text


def _ranked(interval: Interval) -> str:
    return f"{interval.value:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def retrieve(settings: RetrieveSettings) -> None:
    """Print what was asked for, and draw the sheet if one is wanted.

    Raises:
        UserError: folder, recording, recordings or reports are missing or wrong, or the sheet cannot be written.
    """
    task = load_task(settings.aligned)
    task.to("cuda" if torch.cuda.is_available() else "cpu")
    if settings.query is None:
        assert settings.recordings is not None  # noqa: S101 - the settings take no other
        print(recall_table(recall_of_test(task, settings, settings.recordings)))
        return
    query = open_query(settings.query, task.encoder.sample_rate_hz)
    found = find(task, settings, query)
    print(reports_table(found, settings.top))
    if settings.sheet is not None:
        draw(found, query, task.encoder.sample_rate_hz, settings.sheet)
        print(f"sheet: {settings.sheet}")
