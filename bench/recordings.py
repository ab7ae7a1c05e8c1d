"""Figures on the test recordings: `python -m bench.recordings --recordings RECORDINGS`.

Clip AUROC (a clip's score is the mean over its highest-scored second) and events against hand-marked coughs, each with
a 95 % bootstrap interval over people or, where they are unknown, recordings, and with trivial baselines beside it; then
AUROC of every label in every source (`quantize.sources`).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align.corpora import Recording, read_table
from align.statistics import Interval
from bench.baselines import ClipBaseline, energy_onsets
from bench.listening import Heard, Listener, open_bundle
from bench.program import parser, run
from distill.targets import holds
from edge.errors import UserError
from edge.matching import EventCounts, bootstrap_f1, count_events, match_onsets
from quantize.results import aligned
from quantize.sources import HEAD, Asked, area_of, by_source, cells, shown

ESC = ("esc50-f4", "esc10")
ROUNDS = 2000
"""Resamples of each interval."""
Condition = Callable[[Recording], bool]


@dataclass(frozen=True)
class ClipTask:
    """Telling clips with a label from others."""

    title: str
    label: str
    positive: Condition
    negative: Condition
    alone: bool = False
    """Ask for clips that hold the label and no other: people breathe, and audibly, between the coughs and the words of
    recordings that their corpus calls "cough" or "speech"."""

    def score(self, heard: Heard) -> float:
        """The clip score of the label, times that of the absence of each other label if it is to be alone."""
        others = [score for name, score in heard.scores.items() if name != self.label and self.alone]
        return heard.scores[self.label] * math.prod(1.0 - score for score in others)


def _coswara(event: str) -> tuple[Condition, Condition]:
    """Coswara's clips of an event, and those of the others."""
    return (
        lambda row: row.corpus == "coswara" and row.event == event,
        lambda row: row.corpus == "coswara" and row.event != event,
    )


CLIP_TASKS = (
    ClipTask(
        "coughseg: cough / non-cough",
        "cough",
        lambda row: row.corpus == "coughseg" and row.event == "cough",
        lambda row: row.corpus == "coughseg" and row.event != "cough",
    ),
    ClipTask(
        "covid19-cough / ESC",
        "cough",
        lambda row: row.corpus == "covid19-cough",
        lambda row: row.corpus in ESC and row.event != "cough",
    ),
    ClipTask("Coswara: cough / breath, speech, vowel", "cough", *_coswara("cough")),
    ClipTask("all coughs / speech", "cough", lambda row: row.event == "cough", lambda row: row.event == "speech"),
    ClipTask("all coughs / sneezes", "cough", lambda row: row.event == "cough", lambda row: row.event == "sneezing"),
    ClipTask("Coswara: breath / cough, speech, vowel", "breath", *_coswara("breath")),
    ClipTask("  breath and no other label", "breath", *_coswara("breath"), alone=True),
    ClipTask(
        "ESC: breathing / the rest",
        "breath",
        lambda row: row.corpus in ESC and row.event == "breath",
        lambda row: row.corpus in ESC and row.event not in ("breath", "snoring", "sneezing"),
    ),
    ClipTask(
        "speech / all others known to hold none",
        "speech",
        lambda row: row.event == "speech",
        lambda row: row.corpus in (*ESC, "covid19-cough") and row.event not in ("laughing", "crying_baby", "clapping"),
    ),
)


def clip_table(rows: Sequence[Recording], heard: Sequence[Heard], baseline: ClipBaseline | None) -> list[str]:
    """Lines of AUROC by task: positives, negatives, this bundle, and the baselines."""
    lines = [f"{'clip AUROC':<42}{'pos':>5}{'neg':>5}  {'bundle':<23}{'loudness':<23}{'log-mel regression'}"]
    for task in CLIP_TASKS:
        chosen = [
            (row, ears) for row, ears in zip(rows, heard, strict=True) if task.positive(row) or task.negative(row)
        ]
        truth = np.array([task.positive(row) for row, _ in chosen], dtype=bool)
        if len(set(truth.tolist())) < 2 or task.label not in chosen[0][1].scores:
            continue
        groups = [row.group for row, _ in chosen]

        scores = {"bundle": [task.score(ears) for _, ears in chosen]}
        if baseline:
            scores["loudness"] = [baseline.loudness(row) for row, _ in chosen]
            scores["log-mel"] = [baseline.score(row, task.label) for row, _ in chosen]
        areas = [shown(area_of(truth, np.array(values), groups, ROUNDS)) for values in scores.values()]
        figures = "".join(f"{area:<23}" for area in areas)
        lines.append(f"{task.title:<42}{truth.sum():>5}{(~truth).sum():>5}  {figures}".rstrip())
    return lines


def source_table(rows: Sequence[Recording], heard: Sequence[Heard], labels: Sequence[str]) -> list[str]:
    """Lines of AUROC of every label in every source."""
    known = [[holds(row, label) for label in labels] for row in rows]
    asked = Asked([row.corpus for row in rows], [row.group for row in rows], known)
    scores = np.array([[ears.scores[label] for label in labels] for ears in heard])
    return aligned([HEAD, *cells(by_source(labels, asked, scores, rounds=ROUNDS))])


def event_table(rows: Sequence[Recording], heard: Sequence[Heard]) -> list[str]:
    """Lines of event figures on the recordings with hand-marked coughs and the non-coughs of the same source."""
    marked = {row.corpus for row in rows if row.times_s}
    chosen = [(row, ears) for row, ears in zip(rows, heard, strict=True) if row.corpus in marked]
    head = f"{'F1':<23}{'sens.':>7}{'PPV':>7}{'marked':>8}{'FP: cough rec.':>16}{'within a mark':>15}{'other rec.':>12}"
    lines = [f"{'events within 0.30 s':<34}{head}"]
    gate = float(np.median([ears.scores["cough"] for _, ears in chosen]))
    methods: dict[str, Callable[[Recording, Heard], list[float]]] = {
        "bundle": lambda _row, ears: ears.onsets_s("cough"),
        "energy": lambda row, _ears: energy_onsets(row.path),
        "energy behind the net's clip score": lambda row, ears: (
            energy_onsets(row.path) if ears.scores["cough"] > gate else []
        ),
    }
    for name, onsets in methods.items():
        detected = [onsets(row, ears) for row, ears in chosen]
        counts = [
            count_events([on for on, _ in row.times_s], times) for (row, _), times in zip(chosen, detected, strict=True)
        ]
        within = sum(_within_marks(row, times) for (row, _), times in zip(chosen, detected, strict=True))
        lines.append(f"{name:<34}{_event_figures(counts, within)}")
    return lines


def _within_marks(row: Recording, detected_s: Sequence[float]) -> int:
    """False positives that lie within a mark: who marks coughs often marks a peal of them as one."""
    matched = {found for _, found in match_onsets([onset for onset, _ in row.times_s], detected_s)}
    rest = [time for number, time in enumerate(detected_s) if number not in matched]
    return sum(any(onset <= time < offset for onset, offset in row.times_s) for time in rest)


def _event_figures(counts: Sequence[EventCounts], within: int) -> str:
    total = sum(counts, EventCounts())
    interval = bootstrap_f1(counts)
    f1 = str(Interval(total.f1, interval.low, interval.high)) if interval else f"{total.f1:.3f}"
    beside = sum(count.fp for count in counts if count.reference)
    rates = f"{f1:<23}{total.sensitivity:>7.3f}{total.ppv:>7.3f}"
    return f"{rates}{total.reference:>8}{beside:>16}{within:>15}{total.fp - beside:>12}"


def main() -> None:
    """Print the tables."""
    flags = parser("recordings", __doc__)
    flags.add_argument("--recordings", type=Path, required=True, help="CSV that lists the recordings")
    flags.add_argument("--bundle", type=Path, help="bundle folder (default: the one that ships)")
    flags.add_argument("--split", default="test", choices=("test", "train"), help="which recordings (default: test)")
    flags.add_argument("--no-baselines", action="store_true", help="skip the trivial baselines")
    run(flags, _print_tables)


def _print_tables(arguments: argparse.Namespace) -> None:
    table = [row for row in read_table(arguments.recordings) if row.modality == "airborne"]
    rows = [row for row in table if row.split == arguments.split]
    if not rows:
        raise UserError(f"{arguments.recordings}: lists no airborne {arguments.split} recording")
    listener = Listener(open_bundle(arguments.bundle))
    heard = listener.hear_all(rows)
    manifest = listener.bundle.manifest
    heard_before = {corpus.name for corpus in manifest.corpora}
    baseline = None if arguments.no_baselines else ClipBaseline(table, listener.labels, heard_before)
    hours = sum(ears.duration_s for ears in heard) / 3600
    name = f"bundle {manifest.name} {manifest.version} ({manifest.precision})"
    print(f"{name}, {len(rows)} {arguments.split} clips, {hours:.2f} h\n")
    print(*clip_table(rows, heard, baseline), "", *event_table(rows, heard), "", sep="\n")
    print("clip AUROC by source", *source_table(rows, heard, listener.labels), sep="\n")


if __name__ == "__main__":
    main()
